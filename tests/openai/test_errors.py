"""Refusals and outages: which of the SDK's exceptions they become, and what its users can read in them."""

from __future__ import annotations

import openai
import pytest

from conftest import CLIENTS, close, say, settle


@pytest.fixture(params=CLIENTS)
def make(request):
    return CLIENTS[request.param]


async def refused(kind, call, **asked):
    with pytest.raises(kind) as raised:
        await settle(call(**asked))
    return raised.value


async def test_a_wrong_key(region, make):
    client = make(region, api_key="wrong")
    error = await refused(openai.AuthenticationError, client.chat.completions.create, model="gpt-4o", messages=say("a"))
    assert (error.status_code, error.code) == (401, "401")
    assert "Access denied due to invalid subscription key" in error.message
    await close(client)


async def test_an_unknown_deployment(client):
    error = await refused(openai.NotFoundError, client.chat.completions.create, model="absent", messages=say("hi"))
    assert (error.status_code, error.code) == (404, "DeploymentNotFound")


async def test_a_throttled_call_is_tried_again(region, make):
    client = make(region, max_retries=2)
    region.fault("status", status=429, retry_after_ms=20, times=2)
    assert (await settle(client.chat.completions.create(model="gpt-4o", messages=say("hi")))).choices
    await close(client)


async def test_a_throttled_call(region, client):
    region.fault("throttle", retry_after_seconds=7)
    error = await refused(openai.RateLimitError, client.chat.completions.create, model="gpt-4o", messages=say("hi"))
    assert (error.status_code, error.code) == (429, "429")
    assert (error.response.headers["retry-after"], error.response.headers["retry-after-ms"]) == ("7", "7000")


@pytest.mark.parametrize(("status", "kind"), [(500, openai.InternalServerError), (503, openai.InternalServerError)])
async def test_an_outage(region, client, status, kind):
    region.fault("status", status=status)
    error = await refused(kind, client.chat.completions.create, model="gpt-4o", messages=say("hi"))
    assert error.status_code == status


async def test_no_connection(region, client):
    region.fault("reset")
    await refused(openai.APIConnectionError, client.chat.completions.create, model="gpt-4o", messages=say("hi"))


async def test_a_prompt_that_the_filter_blocks(client):
    create = client.chat.completions.create
    error = await refused(openai.BadRequestError, create, model="gpt-4o", messages=say("simulate-prompt-block"))
    assert (error.code, error.param, error.type) == ("content_filter", "prompt", None)
    inner = error.body["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_result"]["violence"] == {"filtered": True, "severity": "medium"}


async def test_a_prompt_beyond_the_window(client):
    create = client.chat.completions.create
    error = await refused(openai.BadRequestError, create, model="small", messages=say("x" * 1000))
    assert (error.code, error.param, error.type) == ("context_length_exceeded", "messages", "invalid_request_error")
    assert "maximum context length is 100 tokens" in error.message


@pytest.mark.parametrize(
    ("model", "asked", "code", "param"),
    [
        ("gpt-4o", {"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ("gpt-4o", {"n": 129}, "integer_above_max_value", "n"),
        ("gpt-4o", {"messages": []}, "empty_array", "messages"),
        ("gpt-4o", {"tool_choice": "auto"}, None, "tool_choice"),
        ("gpt-4o", {"extra_body": {"top_k": 1}}, None, None),
        ("gpt-5-nano", {"max_tokens": 10}, "unsupported_parameter", "max_tokens"),
        ("gpt-5-nano", {"temperature": 0.5}, "unsupported_parameter", "temperature"),
        ("gpt-4o", {"reasoning_effort": "low"}, "unsupported_parameter", "reasoning_effort"),
    ],
)
async def test_an_unusable_parameter_is_named(client, model, asked, code, param):
    create = client.chat.completions.create
    error = await refused(openai.BadRequestError, create, **{"model": model, "messages": say("hi"), **asked})
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")


async def test_the_wrong_operation(client):
    error = await refused(openai.BadRequestError, client.embeddings.create, model="gpt-4o", input="a")
    assert error.code == "OperationNotSupported"


async def test_an_empty_text_has_no_vector(client):
    await refused(openai.BadRequestError, client.embeddings.create, model="embed-3", input="")
