"""A small real gRPC server whose every answer a test scripts: for what the true service never sends on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from sealane.v1 import inference_pb2, inference_pb2_grpc, region_pb2_grpc

Event = inference_pb2.CompleteStreamResponse


class ScriptedService(inference_pb2_grpc.InferenceServiceServicer, region_pb2_grpc.RegionServiceServicer):
    """Answers with what the test put into `complete`, `stream`, `embed`; keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.metadata: dict[str, Any] = {}
        self.complete: Callable[[grpc.ServicerContext], Any] = lambda _: inference_pb2.CompleteResponse()
        self.stream: Callable[[grpc.ServicerContext], Iterator[Event]] = lambda _: iter(())
        self.embed_stream: Callable[[Iterator[Any], Any], Iterator[Any]] = lambda requests, _: iter(())
        self.embed: Callable[[grpc.ServicerContext], Any] = lambda _: inference_pb2.EmbedResponse()

    def _keep(self, request: Message, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())

    def Complete(self, request: Any, context: Any) -> Any:
        self._keep(request, context)
        return self.complete(context)

    def CompleteStream(self, request: Any, context: Any) -> Any:
        self._keep(request, context)
        yield from self.stream(context)

    def Embed(self, request: Any, context: Any) -> Any:
        self._keep(request, context)
        return self.embed(context)

    def EmbedStream(self, requests: Any, context: Any) -> Any:
        yield from self.embed_stream(requests, context)


@contextmanager
def serving(service: ScriptedService) -> Iterator[str]:
    """Serves on a free loopback port; yields the address."""
    with futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(service, server)
        region_pb2_grpc.add_RegionServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def refusal(code: int, message: str, *details: Message) -> Any:
    """A status with details, for `context.abort_with_status`."""
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return rpc_status.to_status(status_pb2.Status(code=code, message=message, details=packed))


def error_info(reason: str, domain: str = "sealane.v1", **metadata: str) -> Message:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def retry_info(seconds: int, nanos: int = 0) -> Message:
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=nanos))


def start(region: str = "swedencentral", pinned_region: str = "") -> Event:
    return Event(start={"served_by": {"region": region, "pinned_region": pinned_region}})


def delta(text: str, choice_index: int = 0) -> Event:
    return Event(delta={"text": text, "choice_index": choice_index})


def end(region: str = "swedencentral") -> Event:
    return Event(end={"served_by": {"region": region}})


CODES = code_pb2
