"""Ingestion for asyncio: takes items as they are wanted and gives answers as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from typing_extensions import Self

from sealane.errors import CallCancelledError, SealaneError, from_rpc_error
from sealane.ingestion import (
    EmbeddedItem,
    GivenItem,
    IngestionSummary,
    Ledger,
    Patience,
    Rows,
    stream_ended_early,
)
from sealane.progress import Bar
from sealane.v1 import inference_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Request: TypeAlias = inference_pb2.EmbedStreamRequest
_Response: TypeAlias = inference_pb2.EmbedStreamResponse


class _Exhausted:
    """The input has ended, or has raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


_Event: TypeAlias = "_Response | EmbeddedItem | _Exhausted | BaseException | None"
"""What an asyncio ingestion waits for; None and an exception are the end of its stream."""


class _AsyncStream:
    """One stream of an asyncio ingestion; its answers, then its end, go to `events`."""

    def __init__(
        self,
        call: Callable[[AsyncIterator[_Request]], Any],
        first: list[_Request],
        events: asyncio.Queue[_Event],
    ) -> None:
        self._requests: asyncio.Queue[_Request | None] = asyncio.Queue()
        for request in first:
            self._requests.put_nowait(request)
        self._call = call(self._each_request())
        self._cancelled = False
        self._reader = asyncio.create_task(self._read(events))

    async def _each_request(self) -> AsyncGenerator[_Request, None]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self, events: asyncio.Queue[_Event]) -> None:
        end: BaseException | None = None
        try:
            async for response in self._call:
                events.put_nowait(response)
        except BaseException as error:  # whoever waits for an answer must hear of any end
            end = error
        if not self._cancelled:
            events.put_nowait(end)

    def send(self, request: _Request) -> None:
        self._requests.put_nowait(request)

    def half_close(self) -> None:
        self._requests.put_nowait(None)

    async def cancel(self) -> None:
        self._cancelled = True
        self._reader.cancel()
        self._call.cancel()
        self.half_close()  # lets gRPC's task end
        await asyncio.wait([self._reader])


class AsyncIngestion:
    """As `Ingestion`, for `async for` and `async with`. The input may be an async iterable; a task of its own reads it.

    Leave it by its end or by `async with`: a task that is merely dropped goes on.
    """

    def __init__(
        self,
        call: Callable[[AsyncIterator[_Request]], Any],
        ledger: Ledger,
        items: Iterable[GivenItem] | AsyncIterable[GivenItem],
        patience: Patience,
        bar: Bar,
    ) -> None:
        self._call = call
        self._ledger = ledger
        self._items = items
        self._patience = patience
        self._bar = bar
        self._exhausted = False
        self._room = asyncio.Event()
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._stream: _AsyncStream | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def summary(self) -> IngestionSummary:
        """What it has come to so far; the whole once the iterator has ended."""
        return self._ledger.summary

    def unanswered(self) -> list[tuple[str, str]]:
        """Ids and texts that were taken from the input and have no answer: what an error leaves to be done."""
        return self._ledger.unanswered()

    async def array(self) -> NDArray[np.float32]:
        """All vectors as one array; see `Ingestion.array`."""
        rows = Rows()
        async for item in self:
            rows.add(item)
        return rows.array(self.summary)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EmbeddedItem:
        if self._closed:
            raise StopAsyncIteration
        try:
            item = await self._next()
        except BaseException:
            await self.close()
            raise
        if item is None:
            await self.close()
            raise StopAsyncIteration
        self._room.set()
        self._bar.update(1)
        return item

    async def _next(self) -> EmbeddedItem | None:
        """The next answer; None if there is none to come."""
        if self._feeder is None:
            self._feeder = asyncio.create_task(self._feed())
        while True:
            if self._stream is None:
                if self._exhausted and self._ledger.is_empty():
                    return None
                self._stream = _AsyncStream(self._call, self._ledger.opened(), self._events)
                if self._exhausted:
                    self._stream.half_close()
            event = await self._events.get()
            if isinstance(event, EmbeddedItem):
                return event
            if isinstance(event, _Exhausted):
                if event.error is not None:
                    raise event.error
            elif isinstance(event, _Response):
                self._patience.answered()
                if (answer := self._ledger.answer(event)) is not None:
                    return answer
            elif event is None and self._ledger.whole and self._ledger.is_empty() and self._exhausted:
                return None
            elif event is None or isinstance(event, grpc.RpcError):
                await self._stream.cancel()
                self._stream = None
                await self._broken(from_rpc_error(event) if event is not None else stream_ended_early())
            elif isinstance(event, asyncio.CancelledError):
                # Raised as it is, it would say that the task which iterates was cancelled.
                raise CallCancelledError("The client was closed.", code=grpc.StatusCode.CANCELLED) from event
            else:
                raise event

    async def _feed(self) -> None:
        """Takes items from the input while there is room, and sends them over whichever stream there is."""
        error: Exception | None = None
        try:
            async for given in _each(self._items):
                taken = self._ledger.take(given)
                if isinstance(taken, EmbeddedItem):
                    self._events.put_nowait(taken)
                elif self._stream is not None:
                    self._stream.send(taken)
                while not self._ledger.has_room():
                    self._room.clear()
                    await self._room.wait()
        except Exception as raised:
            error = raised
        self._exhausted = True
        if self._stream is not None:
            self._stream.half_close()
        self._events.put_nowait(_Exhausted(error))

    async def _broken(self, error: SealaneError) -> None:
        """The stream has ended before its time. Waits, or raises the error if another would do no better."""
        if not self._exhausted or not self._ledger.is_empty():
            await asyncio.sleep(self._patience.pause(error, time.monotonic()))

    async def close(self) -> None:
        """Ends the call. No effect on one that has ended."""
        if self._closed:
            return
        self._closed = True
        self._bar.close()
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.wait([self._feeder])
        if self._stream is not None:
            await self._stream.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _each(items: Iterable[GivenItem] | AsyncIterable[GivenItem]) -> AsyncGenerator[GivenItem, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item
        await asyncio.sleep(0)  # the answers' turn
