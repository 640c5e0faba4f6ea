"""The official SDK's four clients, each pointed at a simulated region and otherwise left as it comes."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

import region as simulated

API_VERSION = "2024-10-21"


@pytest.fixture(scope="session")
def running_region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[simulated.Region]:
    with pytest.MonkeyPatch.context() as patch:
        # Loopback needs no proxy, and whoever runs the tests may have settings of their own.
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
            patch.delenv(name, raising=False)
        with simulated.running(tmp_path_factory.mktemp("region")) as running:
            yield running


@pytest.fixture
def region(running_region: simulated.Region) -> Iterator[simulated.Region]:
    yield running_region
    running_region.heal()


# Responses are held to the SDK's own models; without this it takes whatever comes.
STRICT = {"_strict_response_validation": True}


def dated(kind: type, region: simulated.Region, **options: Any) -> Any:
    """A client of the dated paths, `/openai/deployments/{name}/...?api-version=...`."""
    options = {"api_key": simulated.KEY, "max_retries": 0, **options}
    return kind(azure_endpoint=region.endpoint, api_version=API_VERSION, **options)


def v1(kind: type, region: simulated.Region, **options: Any) -> Any:
    """A client of the v1 paths, `/openai/v1/...`; its key travels as a bearer token."""
    return kind(base_url=f"{region.endpoint}/openai/v1/", **{"api_key": simulated.KEY, "max_retries": 0, **options})


CLIENTS = {
    "AzureOpenAI": lambda region, **options: dated(openai.AzureOpenAI, region, **options),
    "AsyncAzureOpenAI": lambda region, **options: dated(openai.AsyncAzureOpenAI, region, **options),
    "OpenAI": lambda region, **options: v1(openai.OpenAI, region, **options),
    "AsyncOpenAI": lambda region, **options: v1(openai.AsyncOpenAI, region, **options),
}


async def close(client: Any) -> None:
    await settle(client.close())


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest, region: simulated.Region) -> AsyncIterator[Any]:
    """Each client in turn, with responses held to the SDK's models."""
    client = CLIENTS[request.param](region, **STRICT)
    yield client
    await close(client)


@pytest.fixture(params=CLIENTS)
async def plain_client(request: pytest.FixtureRequest, region: simulated.Region) -> AsyncIterator[Any]:
    """Each client in turn as it comes: for streams, whose first event (empty `object`) no model of the SDK fits."""
    client = CLIENTS[request.param](region)
    yield client
    await close(client)


async def settle(answer: Any) -> Any:
    """What a call gives, of a synchronous client or of an asynchronous one."""
    return await answer if inspect.isawaitable(answer) else answer


async def everything(stream: Any) -> list[Any]:
    """All items of a stream of either kind."""
    stream = await settle(stream)
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


async def helped(manager: Any) -> tuple[list[Any], Any]:
    """All events of the stream helper of either kind, and the completion that it made of them."""
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            return [event async for event in stream], await stream.get_final_completion()
    with manager as stream:
        return list(stream), stream.get_final_completion()


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
