"""Streamed answers: iterators that never mistake a cut answer for a whole one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any

import grpc
from typing_extensions import Self

from sealane.errors import STREAM_INTERRUPTED, StreamInterruptedError, from_rpc_error, stream_ended_early
from sealane.v1 import common_pb2, inference_pb2
from sealane.workflow import Workflow


class _Answer:
    """What has arrived of a streamed answer."""

    def __init__(self, call: Any, workflow: Workflow | None) -> None:
        self._call = call
        self._workflow = workflow
        self._text: dict[int, str] = {}
        self.start: inference_pb2.StreamStart | None = None
        """The `start` event, once it arrived."""
        self.end: inference_pb2.StreamEnd | None = None
        """The `end` event, once it arrived: only then is the answer whole."""
        self.finish_reasons: dict[int, inference_pb2.FinishReason] = {}
        """Why each choice ended, by its index."""

    @property
    def text(self) -> str:
        """Text of the first choice so far."""
        return self._text.get(0, "")

    @property
    def served_by(self) -> common_pb2.ServedBy | None:
        """Where the call went; complete once the stream has ended, None before it has begun."""
        if self.end is not None:
            return self.end.served_by
        return self.start.served_by if self.start is not None else None

    def _take(self, event: inference_pb2.CompleteStreamResponse) -> None:
        kind = event.WhichOneof("event")
        if kind == "delta":
            index = event.delta.choice_index
            self._text[index] = self._text.get(index, "") + event.delta.text
        elif kind == "choice_finish":
            self.finish_reasons[event.choice_finish.choice_index] = event.choice_finish.finish_reason
        elif kind == "restarted":
            self.start = None
            self._text.clear()
            self.finish_reasons.clear()
        elif kind == "start":
            self.start = event.start
            self._remember(event.start.served_by)
        elif kind == "end":
            self.end = event.end
            self._remember(event.end.served_by)

    def _remember(self, served_by: common_pb2.ServedBy) -> None:
        if self._workflow is not None:
            self._workflow.remember(served_by)

    def _failed(self, error: grpc.RpcError) -> Exception:
        failure = from_rpc_error(error, answer_begun=self.start is not None)
        if not failure.region and self.start is not None:
            failure.region = self.start.served_by.region
        return failure

    def _cut(self) -> StreamInterruptedError:
        return stream_ended_early(self.start.served_by.region if self.start else "")

    def _text_of(self, event: inference_pb2.CompleteStreamResponse, yielded: bool) -> str:
        kind = event.WhichOneof("event")
        if kind == "restarted" and yielded:
            raise StreamInterruptedError(
                "The answer starts again, but a part of it was already handed out; iterate the events to follow it.",
                code=grpc.StatusCode.UNAVAILABLE,
                reason=STREAM_INTERRUPTED,
                region=event.restarted.failed_region,
            )
        return event.delta.text if kind == "delta" and event.delta.choice_index == 0 else ""


class CompletionStream(_Answer):
    """A streamed answer: an iterator of `CompleteStreamResponse` events.

    It raises a `SealaneError` if the answer is cut, whether by an error or by a stream that just stops. Leaving the
    `with` block before the end cancels the call.
    """

    def __iter__(self) -> Iterator[inference_pb2.CompleteStreamResponse]:
        return self

    def __next__(self) -> inference_pb2.CompleteStreamResponse:
        try:
            event: inference_pb2.CompleteStreamResponse = next(self._call)
        except StopIteration:
            if self.end is None:
                raise self._cut() from None
            raise
        except grpc.RpcError as error:
            raise self._failed(error) from error
        self._take(event)
        return event

    def text_chunks(self) -> Iterator[str]:
        """The first choice's text, piece by piece.

        Text that was handed out cannot be taken back: with `ON_INTERRUPTION_RESTART` iterate the events instead.
        """
        yielded = False
        try:
            for event in self:
                if piece := self._text_of(event, yielded):
                    yielded = True
                    yield piece
        finally:
            if self.end is None:
                self.cancel()

    def cancel(self) -> None:
        """Ends the call; the service stops the model's work too. No effect on a stream that has ended."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class AsyncCompletionStream(_Answer):
    """As `CompletionStream`, for `async for` and `async with`."""

    def __init__(self, call: Any, workflow: Workflow | None) -> None:
        super().__init__(call, workflow)
        self._events = self._call.__aiter__()

    def __aiter__(self) -> AsyncIterator[inference_pb2.CompleteStreamResponse]:
        return self

    async def __anext__(self) -> inference_pb2.CompleteStreamResponse:
        try:
            event: inference_pb2.CompleteStreamResponse = await self._events.__anext__()
        except StopAsyncIteration:
            if self.end is None:
                raise self._cut() from None
            raise
        except grpc.RpcError as error:
            raise self._failed(error) from error
        self._take(event)
        return event

    async def text_chunks(self) -> AsyncIterator[str]:
        """The first choice's text, piece by piece; see `CompletionStream.text_chunks`."""
        yielded = False
        try:
            async for event in self:
                if piece := self._text_of(event, yielded):
                    yielded = True
                    yield piece
        finally:
            if self.end is None:
                self.cancel()

    def cancel(self) -> None:
        """Ends the call; the service stops the model's work too. No effect on a stream that has ended."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
