"""Tools and structured output."""

from __future__ import annotations

import json
from typing import Literal

import openai
import pydantic
import pytest

from conftest import everything, helped, say, settle


class Weather(pydantic.BaseModel):
    """The weather at a place."""

    place: str
    unit: Literal["celsius", "fahrenheit"]


class Clock(pydantic.BaseModel):
    """The time at a place."""

    place: str


class Step(pydantic.BaseModel):
    explanation: str
    output: int


class Solution(pydantic.BaseModel):
    steps: list[Step]
    answer: float | None
    sure: bool


TOOLS = [openai.pydantic_function_tool(Weather), openai.pydantic_function_tool(Clock)]
# The simulated model calls the tools that the last message names.
BOTH = say("Weather and Clock in Uppsala, please")


async def test_tools_are_called_and_answered(client):
    answer = await settle(client.chat.completions.create(model="gpt-4o", messages=BOTH, tools=TOOLS))
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    weather, clock = choice.message.tool_calls
    assert (weather.type, weather.function.name, clock.function.name) == ("function", "Weather", "Clock")
    assert weather.id.startswith("call_") and weather.id != clock.id
    Weather.model_validate_json(weather.function.arguments)
    Clock.model_validate_json(clock.function.arguments)

    results = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"ok": True})}
        for call in choice.message.tool_calls
    ]
    # The SDK's own message goes back as it came, `annotations`, `refusal` and all.
    again = await settle(
        client.chat.completions.create(
            model="gpt-4o", messages=[*BOTH, choice.message.model_dump(), *results], tools=TOOLS
        )
    )
    assert again.choices[0].message.content


async def test_one_tool_at_a_time(client):
    answer = await settle(
        client.chat.completions.create(model="gpt-4o", messages=BOTH, tools=TOOLS, parallel_tool_calls=False)
    )
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["Weather"]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", []),
        ("required", ["Weather"]),
        ({"type": "function", "function": {"name": "Clock"}}, ["Clock"]),
    ],
)
async def test_a_choice_of_tools(client, choice, called):
    answer = await settle(
        client.chat.completions.create(model="gpt-4o", messages=BOTH, tools=TOOLS, tool_choice=choice)
    )
    assert [call.function.name for call in answer.choices[0].message.tool_calls or []] == called


async def test_streamed_tool_calls(plain_client):
    asked = {"model": "gpt-4o", "messages": BOTH, "tools": TOOLS, "seed": 5}
    whole = await settle(plain_client.chat.completions.create(**asked))
    chunks = await everything(plain_client.chat.completions.create(**asked, stream=True))
    joined: dict[int, dict[str, str]] = {}
    for piece in (call for chunk in chunks for one in chunk.choices for call in one.delta.tool_calls or []):
        call = joined.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
        call["id"] += piece.id or ""
        call["name"] += piece.function.name or ""
        call["arguments"] += piece.function.arguments or ""
    expected = [{"id": call.id, **call.function.model_dump()} for call in whole.choices[0].message.tool_calls]
    assert [joined[index] for index in sorted(joined)] == expected


async def test_the_stream_helper_parses_arguments(plain_client):
    events, completion = await helped(plain_client.chat.completions.stream(model="gpt-4o", messages=BOTH, tools=TOOLS))
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.index, event.name) for event in done] == [(0, "Weather"), (1, "Clock")]
    parsed = [call.function.parsed_arguments for call in completion.choices[0].message.tool_calls]
    assert [type(one) for one in parsed] == [Weather, Clock]


async def test_structured_output(client):
    answer = await settle(
        client.chat.completions.parse(model="gpt-4o", messages=say("solve it"), response_format=Solution)
    )
    assert isinstance(answer.choices[0].message.parsed, Solution)


async def test_parsed_tool_calls(client):
    answer = await settle(client.chat.completions.parse(model="gpt-4o", messages=BOTH, tools=TOOLS))
    parsed = [call.function.parsed_arguments for call in answer.choices[0].message.tool_calls]
    assert [type(one) for one in parsed] == [Weather, Clock]


async def test_streamed_structured_output(plain_client):
    _, completion = await helped(
        plain_client.chat.completions.stream(model="gpt-4o", messages=say("solve it"), response_format=Solution)
    )
    assert isinstance(completion.choices[0].message.parsed, Solution)


async def test_structured_output_that_the_model_declines(client):
    answer = await settle(
        client.chat.completions.parse(model="gpt-4o", messages=say("simulate-refusal"), response_format=Solution)
    )
    message = answer.choices[0].message
    assert message.refusal and message.parsed is None and message.content is None


async def test_structured_output_cut_short_is_an_error(client):
    with pytest.raises(openai.LengthFinishReasonError):
        await settle(
            client.chat.completions.parse(model="gpt-4o", messages=say("solve"), response_format=Solution, max_tokens=2)
        )


async def test_structured_output_withheld_is_an_error(client):
    with pytest.raises(openai.ContentFilterFinishReasonError):
        await settle(
            client.chat.completions.parse(
                model="gpt-4o", messages=say("simulate-output-block"), response_format=Solution
            )
        )


async def test_json_mode(client):
    answer = await settle(
        client.chat.completions.create(
            model="gpt-4o", messages=say("some JSON"), response_format={"type": "json_object"}
        )
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
