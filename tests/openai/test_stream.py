"""Streamed chat completions, event by event and through the SDK's stream helper."""

from __future__ import annotations

import openai
import pytest

from conftest import close, dated, everything, helped, say, settle


async def test_a_stream_says_what_the_whole_answer_says(plain_client):
    asked = {"model": "gpt-4o", "messages": say("tell me"), "seed": 1, "n": 2, "logprobs": True}
    whole = await settle(plain_client.chat.completions.create(**asked))
    chunks = await everything(
        plain_client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    for choice in whole.choices:
        pieces = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert "".join(one.delta.content or "" for one in pieces) == choice.message.content
        tokens = [token for one in pieces if one.logprobs for token in one.logprobs.content]
        assert tokens == choice.logprobs.content
        assert [one.finish_reason for one in pieces if one.finish_reason] == [choice.finish_reason]
        assert pieces[0].delta.role == "assistant"
    first, last = chunks[0], chunks[-1]
    assert (first.choices, first.id, first.object) == ([], "", "")
    assert first.model_extra["prompt_filter_results"][0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert (last.choices, last.usage) == ([], whole.usage)
    assert len({chunk.id for chunk in chunks[1:]}) == 1
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks[1:])
    assert all(chunk.obfuscation for chunk in chunks[1:])


async def test_without_usage_and_obfuscation(plain_client):
    chunks = await everything(
        plain_client.chat.completions.create(
            model="gpt-4o", messages=say("hi"), stream=True, stream_options={"include_obfuscation": False}
        )
    )
    assert all(chunk.usage is None and chunk.obfuscation is None for chunk in chunks)


async def test_the_stream_helper(plain_client):
    events, completion = await helped(
        plain_client.chat.completions.stream(
            model="gpt-4o", messages=say("hi"), seed=3, stream_options={"include_usage": True}
        )
    )
    whole = await settle(plain_client.chat.completions.create(model="gpt-4o", messages=say("hi"), seed=3))
    said = "".join(event.delta for event in events if event.type == "content.delta")
    [done] = [event for event in events if event.type == "content.done"]
    assert said == done.content == whole.choices[0].message.content == completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage == whole.usage


async def test_a_streamed_refusal(plain_client):
    events, completion = await helped(
        plain_client.chat.completions.stream(model="gpt-4o", messages=say("simulate-refusal"))
    )
    refused = "".join(event.delta for event in events if event.type == "refusal.delta")
    assert refused and refused == completion.choices[0].message.refusal
    assert completion.choices[0].message.content is None


async def test_an_answer_blocked_on_the_way(plain_client):
    chunks = await everything(
        plain_client.chat.completions.create(model="gpt-4o", messages=say("simulate-output-block"), stream=True)
    )
    ends = [choice for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert [end.finish_reason for end in ends] == ["content_filter"]
    assert ends[0].model_extra["content_filter_results"]["violence"]["filtered"] is True


async def test_annotations_of_the_asynchronous_filter(region, plain_client):
    region.fault("content_filter", mode="asynchronous")
    chunks = await everything(plain_client.chat.completions.create(model="gpt-4o", messages=say("hi"), stream=True))
    noted = [choice for chunk in chunks for choice in chunk.choices if "content_filter_offsets" in choice.model_extra]
    assert noted and all(choice.delta is None for choice in noted)
    said = "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.delta is not None
    )
    assert noted[-1].model_extra["content_filter_offsets"]["end_offset"] == len(said)


async def test_an_error_on_the_way_is_raised(region, plain_client):
    region.fault("stream_error", at=3)
    with pytest.raises(openai.APIError, match="The server had an error") as raised:
        await everything(plain_client.chat.completions.create(model="gpt-4o", messages=say("hi"), stream=True))
    assert raised.value.type == "server_error"


async def test_a_connection_cut_on_the_way_is_no_answer(region, plain_client):
    region.fault("stream_reset", at=3)
    # Of the SDK's HTTP library, whose name is not the SDK's to promise.
    with pytest.raises(Exception, match=r"(?i)peer|reset|connection|incomplete|read"):
        await everything(plain_client.chat.completions.create(model="gpt-4o", messages=say("hi"), stream=True))


async def test_leaving_early_ends_the_request(region):
    client = dated(openai.AsyncAzureOpenAI, region)
    stream = await client.chat.completions.create(model="gpt-4o", messages=say("hi"), stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert (await client.chat.completions.create(model="gpt-4o", messages=say("hi"))).choices
    await close(client)
