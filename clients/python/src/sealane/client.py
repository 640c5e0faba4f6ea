"""The client for ordinary, blocking code. Safe to share between threads; make one per process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import grpc
from typing_extensions import Self, Unpack

from sealane.channel import CallMetadata, Tls, Token, connection, default_timeouts
from sealane.embed_many import Ingestion
from sealane.errors import from_rpc_error
from sealane.ingestion import GivenItem, Ledger, Patience, must_be_items
from sealane.progress import Bar, Progress
from sealane.requests import (
    CompleteParameters,
    EmbedParameters,
    Messages,
    Routing,
    complete_request,
    embed_request,
    embed_stream_open,
    watch_request,
)
from sealane.streams import CompletionStream
from sealane.v1 import inference_pb2, inference_pb2_grpc, operator_pb2_grpc, region_pb2, region_pb2_grpc
from sealane.workflow import Workflow


class Client:
    """Calls Sealane. Every failed call raises a `SealaneError`.

    `timeout` is in seconds. Unary calls have a default (Complete 300, Embed 60, RegionStatus 5), streams have none.
    `inference`, `regions` and `operator` are the generated stubs, for whatever this class does not wrap; pass them
    `metadata=client.metadata()`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: Token | None = None,
        tls: Tls | bool | None = None,
        allow_plaintext_token: bool = False,
    ) -> None:
        """Connects at the first call.

        `address`: `host:port`, `https://host` or any gRPC target; default `SEALANE_ADDR`, else `localhost:50051`.
        `token`: bearer token; default `SEALANE_TOKEN`. `tls`: True for the system's certificates; default: only for
        an `https` address. `allow_plaintext_token`: permit a token without TLS beyond loopback.
        """
        self._connection = connection(address, token, tls, allow_plaintext_token)
        self._timeouts = default_timeouts()
        target, credentials, options = (
            self._connection.target,
            self._connection.credentials,
            self._connection.options,
        )
        self._channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials is not None
            else grpc.insecure_channel(target, options)
        )
        self.inference = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self.regions = region_pb2_grpc.RegionServiceStub(self._channel)
        self.operator = operator_pb2_grpc.OperatorServiceStub(self._channel)

    def complete(
        self,
        model: str,
        messages: Messages,
        *,
        timeout: float | None = None,
        routing: Routing | None = None,
        workflow: Workflow | None = None,
        metadata: CallMetadata = (),
        **parameters: Unpack[CompleteParameters],
    ) -> inference_pb2.CompleteResponse:
        """One chat completion, whole."""
        request = complete_request(inference_pb2.CompleteRequest, model, messages, routing, workflow, parameters)
        try:
            reply = self.inference.Complete(
                request,
                timeout=self._timeouts["Complete"] if timeout is None else timeout,
                metadata=self.metadata(metadata),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        if workflow is not None:
            workflow.remember(reply.served_by)
        return reply

    def complete_stream(
        self,
        model: str,
        messages: Messages,
        *,
        timeout: float | None = None,
        routing: Routing | None = None,
        workflow: Workflow | None = None,
        metadata: CallMetadata = (),
        **parameters: Unpack[CompleteParameters],
    ) -> CompletionStream:
        """One chat completion as it is generated; `text_chunks()` of the result is just its text."""
        request = complete_request(inference_pb2.CompleteStreamRequest, model, messages, routing, workflow, parameters)
        call = self.inference.CompleteStream(request, timeout=timeout, metadata=self.metadata(metadata))
        return CompletionStream(call, workflow)

    def embed(
        self,
        model: str,
        inputs: str | Iterable[str],
        *,
        timeout: float | None = None,
        routing: Routing | None = None,
        workflow: Workflow | None = None,
        metadata: CallMetadata = (),
        **parameters: Unpack[EmbedParameters],
    ) -> inference_pb2.EmbedResponse:
        """Vectors for one text or up to 2048; read them with `as_lists` or `as_array`."""
        request = embed_request(model, inputs, routing, workflow, parameters)
        try:
            reply = self.inference.Embed(
                request,
                timeout=self._timeouts["Embed"] if timeout is None else timeout,
                metadata=self.metadata(metadata),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        if workflow is not None:
            workflow.remember(reply.served_by)
        return reply

    def embed_many(
        self,
        items: Iterable[GivenItem],
        *,
        model: str,
        dimensions: int | None = None,
        routing: Routing | None = None,
        workflow: Workflow | None = None,
        metadata: CallMetadata = (),
        end_user_id: str = "",
        progress: Progress = None,
        reconnect_for: float = 300.0,
    ) -> Ingestion:
        """Vectors for any number of texts, as they finish: iterate the result, or ask it for one `array()`.

        `items`: texts, or pairs of an id and a text; taken lazily, so a generator of millions is fine. An item that is
        refused has its answer too: `error` of its `EmbeddedItem`. `progress`: a function such as `tqdm.update`, or
        True. `reconnect_for`: seconds to go on trying while there is no connection; an outage of every region is waited
        out by the service. Streams yield to interactive calls unless `routing` has another `priority`.
        """
        must_be_items(items)
        opening = embed_stream_open(model, dimensions, end_user_id, routing, workflow)

        def call(requests: Iterator[inference_pb2.EmbedStreamRequest]) -> Any:
            return self.inference.EmbedStream(requests, metadata=self.metadata(metadata))

        return Ingestion(call, Ledger(opening, workflow), items, Patience(reconnect_for), Bar(progress, items))

    def region_status(
        self, *, region: str = "", model: str = "", timeout: float | None = None, metadata: CallMetadata = ()
    ) -> region_pb2.RegionStatusResponse:
        """Which regions are well, which serve, and why. `region` and `model` narrow the view."""
        try:
            return self.regions.RegionStatus(
                region_pb2.RegionStatusRequest(region=region, model=model),
                timeout=self._timeouts["RegionStatus"] if timeout is None else timeout,
                metadata=self.metadata(metadata),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def watch_region_status(
        self,
        *,
        region: str = "",
        model: str = "",
        max_interval: float | None = None,
        timeout: float | None = None,
        metadata: CallMetadata = (),
    ) -> Iterator[region_pb2.RegionStatusResponse]:
        """The view now, then on every change, and at least every `max_interval` seconds (0.1 to 3600; default 10).

        Endless: leave the loop, or close the iterator, to end the call.
        """
        call = self.regions.WatchRegionStatus(
            watch_request(region, model, max_interval), timeout=timeout, metadata=self.metadata(metadata)
        )
        try:
            for event in call:
                yield event.status
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    def metadata(self, extra: CallMetadata = ()) -> tuple[tuple[str, str | bytes], ...]:
        """Metadata that this client sends with a call: reply size limit, bearer token and `extra`."""
        return self._connection.metadata(extra)

    def close(self) -> None:
        """Closes the connection and cancels what is still in flight."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
