"""Chat completions, whole."""

from __future__ import annotations

import asyncio

import openai
import pytest

import region as simulated
from conftest import close, dated, say, settle


async def test_an_answer(client):
    answer = await settle(client.chat.completions.create(model="gpt-4o", messages=say("hi")))
    assert (answer.object, answer.model) == ("chat.completion", "gpt-4o-2024-11-20")
    assert answer.id.startswith("chatcmpl-") and answer.system_fingerprint.startswith("fp_")
    [choice] = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content and choice.message.refusal is None and not choice.message.tool_calls
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    # Azure's own members, which the SDK keeps beside those it knows.
    assert choice.model_extra["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
    [prompt] = answer.model_extra["prompt_filter_results"]
    assert prompt["content_filter_results"]["jailbreak"] == {"filtered": False, "detected": False}


async def test_headers_of_azure(client):
    raw = await settle(client.chat.completions.with_raw_response.create(model="gpt-4o", messages=say("hi")))
    assert raw.headers["x-ms-region"] == "Sweden Central"
    assert raw.headers["x-ms-deployment-name"] == "gpt-4o"
    assert raw.headers["apim-request-id"] and int(raw.headers["x-ratelimit-remaining-tokens"]) > 0
    assert (await settle(raw.parse())).choices[0].message.content
    # What the SDK shows as the request's id is the header of that name.
    assert raw.request_id == raw.headers["x-request-id"]


async def test_a_seed_decides(client):
    async def ask(seed):
        answer = await settle(client.chat.completions.create(model="gpt-4o", messages=say("hi"), seed=seed))
        return answer.choices[0].message.content

    assert await ask(7) == await ask(7)
    assert await ask(7) != await ask(8)


async def test_several_choices(client):
    answer = await settle(client.chat.completions.create(model="gpt-4o", messages=say("hi"), n=3))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3


async def test_log_probabilities(client):
    answer = await settle(
        client.chat.completions.create(model="gpt-4o", messages=say("hi"), logprobs=True, top_logprobs=2)
    )
    [choice] = answer.choices
    tokens = choice.logprobs.content
    assert "".join(one.token for one in tokens) == choice.message.content
    assert all(bytes(one.bytes).decode() == one.token and one.logprob <= 0 for one in tokens)
    assert all(len(one.top_logprobs) == 2 and one.top_logprobs[0].token == one.token for one in tokens)


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_that_hits_its_cap(client, cap):
    answer = await settle(client.chat.completions.create(model="gpt-4o", messages=say("hi"), **{cap: 3}))
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 3)


async def test_every_parameter_that_a_chat_model_takes(client):
    """None of these changes what is asserted; each must be taken."""
    answer = await settle(
        client.chat.completions.create(
            model="gpt-4o",
            messages=[
                {"role": "system", "content": "be brief"},
                {
                    "role": "user",
                    "name": "ann",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "low"}},
                    ],
                },
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                {"role": "user", "content": "please"},
            ],
            temperature=0,
            top_p=0.5,
            frequency_penalty=-2,
            presence_penalty=2,
            logit_bias={"50256": -100},
            stop=["\n\n"],
            seed=1,
            user="u",
            store=True,
            metadata={"run": "1"},
            prediction={"type": "content", "content": "look"},
            service_tier="auto",
            response_format={"type": "text"},
        )
    )
    assert answer.choices[0].message.content


async def test_a_reasoning_model(client):
    answer = await settle(
        client.chat.completions.create(
            model="gpt-5-nano",
            messages=[{"role": "developer", "content": "be brief"}, *say("think")],
            reasoning_effort="low",
            verbosity="low",
            max_completion_tokens=500,
        )
    )
    details = answer.usage.completion_tokens_details
    assert 0 < details.reasoning_tokens < answer.usage.completion_tokens
    assert answer.system_fingerprint is None


async def test_a_withheld_answer(client):
    answer = await settle(client.chat.completions.create(model="gpt-4o", messages=say("simulate-output-block")))
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("content_filter", None)
    assert choice.model_extra["content_filter_results"]["violence"]["filtered"] is True


async def test_models(client):
    page = await settle(client.models.list())
    assert page.object == "list"
    assert {"gpt-4o-2024-11-20", "text-embedding-3-large-1"} <= {model.id for model in page.data}


async def test_an_entra_token(region):
    async def provider():
        return simulated.TOKEN

    client = dated(openai.AzureOpenAI, region, api_key=None, azure_ad_token=simulated.TOKEN)
    assert client.chat.completions.create(model="gpt-4o", messages=say("hi")).choices
    client.close()
    client = dated(openai.AsyncAzureOpenAI, region, api_key=None, azure_ad_token_provider=provider)
    assert (await client.chat.completions.create(model="gpt-4o", messages=say("hi"))).choices
    await close(client)


async def test_a_client_of_one_deployment(region):
    """The deployment is in the client's address; the body's `model` says nothing then."""
    client = dated(openai.AzureOpenAI, region, azure_deployment="gpt-4o")
    answer = client.chat.completions.create(model="whatever", messages=say("hi"))
    assert answer.model == "gpt-4o-2024-11-20"
    client.close()


async def test_many_calls_at_once(region):
    client = dated(openai.AsyncAzureOpenAI, region)
    asked = [client.chat.completions.create(model="gpt-4o", messages=say(f"number {at}")) for at in range(32)]
    answers = await asyncio.gather(*asked)
    assert len({answer.id for answer in answers}) == 32
    await close(client)
