"""Ingestion for blocking code: takes items as they are wanted and gives answers as they come."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from typing_extensions import Self

from sealane.errors import SealaneError, from_rpc_error
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


class _Stream:
    """One stream of a blocking ingestion. gRPC's thread takes requests from a queue, and one of ours puts answers into
    another; no more items are in them than have no answer."""

    def __init__(self, call: Callable[[Iterator[_Request]], Any], first: list[_Request]) -> None:
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        for request in first:
            self._requests.put(request)
        self.events: queue.SimpleQueue[_Response | BaseException | None] = queue.SimpleQueue()
        self._call = call(iter(self._requests.get, None))
        # Knows nothing of the ingestion, which can so be collected, and closed, when nobody iterates it any more.
        threading.Thread(target=_read, args=(self._call, self.events), name="sealane-answers", daemon=True).start()

    def send(self, request: _Request) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        self._requests.put(None)

    def cancel(self) -> None:
        self._call.cancel()
        self._requests.put(None)  # lets gRPC's thread end


def _read(call: Any, events: queue.SimpleQueue[_Response | BaseException | None]) -> None:
    end: BaseException | None = None
    try:
        for response in call:
            events.put(response)
    except BaseException as error:  # whoever waits for an answer must hear of any end
        end = error
    events.put(end)


class Ingestion:
    """Answers to any number of items, each exactly once, in any order: an iterator of `EmbeddedItem`.

    Items are taken from the input as there is room for them (4096 without an answer), in the thread that iterates. A
    stream that breaks is opened again and only what has no answer is sent again. Leaving the `with` block, or dropping
    the iterator, ends the call.
    """

    def __init__(
        self,
        call: Callable[[Iterator[_Request]], Any],
        ledger: Ledger,
        items: Iterable[GivenItem],
        patience: Patience,
        bar: Bar,
    ) -> None:
        self._call = call
        self._ledger = ledger
        self._items: Iterator[GivenItem] | None = iter(items)
        self._patience = patience
        self._bar = bar
        self._stream: _Stream | None = None
        self._closed = False

    @property
    def summary(self) -> IngestionSummary:
        """What it has come to so far; the whole once the iterator has ended."""
        return self._ledger.summary

    def unanswered(self) -> list[tuple[str, str]]:
        """Ids and texts that were taken from the input and have no answer: what an error leaves to be done."""
        return self._ledger.unanswered()

    def array(self) -> NDArray[np.float32]:
        """All vectors as one array of shape (items, dimensions), in the input's order; call it instead of iterating.

        Raises `ItemsFailedError` if an item has no vector, after all others were embedded. Needs
        `pip install sealane[numpy]`.
        """
        rows = Rows()
        for item in self:
            rows.add(item)
        return rows.array(self.summary)

    def __iter__(self) -> Iterator[EmbeddedItem]:
        return self

    def __next__(self) -> EmbeddedItem:
        if self._closed:
            raise StopIteration
        try:
            item = self._next()
        except BaseException:
            self.close()
            raise
        if item is None:
            self.close()
            raise StopIteration
        self._bar.update(1)
        return item

    def _next(self) -> EmbeddedItem | None:
        """The next answer; None if there is none to come."""
        while True:
            if self._stream is None:
                if self._items is None and self._ledger.is_empty():
                    return None
                self._stream = self._open()
            more = self._items is not None and self._ledger.has_room()
            try:
                event = self._stream.events.get(block=not more)
            except queue.Empty:
                if (answer := self._take(self._stream)) is not None:
                    return answer
                continue
            if isinstance(event, _Response):
                self._patience.answered()
                if (answer := self._ledger.answer(event)) is not None:
                    return answer
            elif event is None and self._ledger.whole and self._ledger.is_empty() and self._items is None:
                return None
            elif event is None or isinstance(event, grpc.RpcError):
                self._stream.cancel()
                self._stream = None
                self._broken(from_rpc_error(event) if event is not None else stream_ended_early())
            else:
                raise event

    def _open(self) -> _Stream:
        stream = _Stream(self._call, self._ledger.opened())
        if self._items is None:
            stream.half_close()
        return stream

    def _take(self, stream: _Stream) -> EmbeddedItem | None:
        """Takes an item from the input and sends it; gives its answer if it cannot be sent."""
        for given in self._items or ():
            taken = self._ledger.take(given)
            if isinstance(taken, EmbeddedItem):
                return taken
            stream.send(taken)
            return None
        self._items = None
        stream.half_close()
        return None

    def _broken(self, error: SealaneError) -> None:
        """The stream has ended before its time. Waits, or raises the error if another would do no better."""
        if self._items is not None or not self._ledger.is_empty():
            time.sleep(self._patience.pause(error, time.monotonic()))

    def close(self) -> None:
        """Ends the call. No effect on one that has ended."""
        if not self._closed:
            self._closed = True
            self._bar.close()
            if self._stream is not None:
                self._stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()
