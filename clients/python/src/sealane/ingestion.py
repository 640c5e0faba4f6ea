"""Vectors for any number of texts, over as many streams as it takes.

What both kinds of client share is here and does no input or output: which items have no answer yet, what an answer
means, and whether a stream that broke is worth another.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import grpc

from sealane.errors import (
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    SealaneError,
    ThrottledError,
    UnavailableError,
)
from sealane.v1 import inference_pb2
from sealane.workflow import Workflow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GivenItem: TypeAlias = "str | tuple[str, str]"
"""A text, or an id of 1 to 128 bytes and a text. A text's id is its index in the input: "0", "1", ..."""

OnProgress: TypeAlias = "Callable[[int], object]"
"""Called with the number of items answered since its last call: `tqdm.update` is one."""

MOST_UNANSWERED = 4096
"""Items without an answer at one time, as many as the service takes."""
MOST_UNANSWERED_CHARACTERS = 8 << 20
MOST_TEXT_CHARACTERS = 1 << 20
"""No longer text has 8192 tokens or fewer; much longer ones do not fit into a message."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two attempts to open a stream; doubles from the one to the other."""


_LOG = logging.getLogger("sealane")


class ItemError(InvalidRequestError):
    """One item was refused, such as a text that is too long or that the content filter blocks. The others were not."""

    def __init__(self, id: str, reason: str, message: str, region: str) -> None:
        super().__init__(f"item {id!r}: {message}", code=grpc.StatusCode.INVALID_ARGUMENT, reason=reason, region=region)
        self.id = id
        """The item's id."""


class ItemsFailedError(SealaneError):
    """Some items have no vector. `errors` says which and why."""

    def __init__(self, errors: list[ItemError]) -> None:
        have = "1 item has" if len(errors) == 1 else f"{len(errors)} items have"
        super().__init__(
            f"{have} no vector; first {errors[0].message}",
            code=errors[0].code,
            reason=errors[0].reason,
            region=errors[0].region,
        )
        self.errors = errors
        """One for each item without a vector, in the order of their answers."""


@dataclass(frozen=True, slots=True)
class EmbeddedItem:
    """The answer to one item: its vector, or why it has none."""

    id: str
    """As given, or the index as text."""
    index: int
    """0-based place in the input."""
    region: str
    """Azure region that served or refused it; empty if none was asked."""
    error: ItemError | None
    """Why this item, and only this item, has no vector; None if it has one."""
    packed: bytes = field(repr=False)
    """The vector as little-endian 32-bit floats; empty with an error."""

    @property
    def vector(self) -> NDArray[np.float32]:
        """The vector as a float32 array, without a copy and so read-only. Raises `error` if there is one.

        Needs `pip install sealane[numpy]`; see `as_list` otherwise.
        """
        _need_numpy()
        import numpy as np

        if self.error is not None:
            raise self.error
        return np.frombuffer(self.packed, dtype="<f4").astype(np.float32, copy=False)

    def as_list(self) -> list[float]:
        """The vector as a plain list. Raises `error` if there is one."""
        if self.error is not None:
            raise self.error
        return list(struct.unpack(f"<{len(self.packed) // 4}f", self.packed))


@dataclass(slots=True)
class IngestionSummary:
    """What an ingestion has come to, so far or as a whole."""

    embedded_items: int = 0
    """Items with a vector."""
    failed_items: int = 0
    """Items with an error."""
    items_by_region: dict[str, int] = field(default_factory=dict)
    """Vectors by the Azure region that made them."""
    embedding_space: str = ""
    """Names the space of all vectors; store it with the index. Empty before the first."""
    dimensions: int = 0
    """Numbers in each vector; 0 before the first."""
    total_tokens: int = 0
    """Tokens as Azure counted them, told at the end. Of a stream that broke they are not known."""
    streams: int = 0
    """Streams opened; more than 1 if one broke."""


class Rows:
    """Answers as rows of one array."""

    def __init__(self) -> None:
        _need_numpy()  # before anything is paid for
        self._packed: dict[int, bytes] = {}
        self._errors: list[ItemError] = []

    def add(self, item: EmbeddedItem) -> None:
        if item.error is not None:
            self._errors.append(item.error)
        self._packed[item.index] = item.packed

    def array(self, summary: IngestionSummary) -> NDArray[np.float32]:
        import numpy as np

        if self._errors:
            raise ItemsFailedError(self._errors)
        if len(self._packed) != summary.embedded_items:
            raise RuntimeError("some answers were taken before: call array() instead of iterating")
        rows = np.empty((len(self._packed), summary.dimensions), dtype=np.float32)
        for index, packed in self._packed.items():
            rows[index] = np.frombuffer(packed, dtype="<f4")
        return rows


@dataclass(slots=True)
class _Unanswered:
    index: int
    text: str


class Ledger:
    """Who has no answer yet, and what has come to those who have."""

    def __init__(self, opening: inference_pb2.EmbedStreamOpen, workflow: Workflow | None) -> None:
        self.summary = IngestionSummary()
        self.whole = False
        """The stream in use has told its summary."""
        self._opening = opening
        self._workflow = workflow
        self._next_index = 0
        self._unanswered: dict[str, _Unanswered] = {}
        self._characters = 0

    def has_room(self) -> bool:
        """Whether another item may be taken from the input."""
        return len(self._unanswered) < MOST_UNANSWERED and self._characters < MOST_UNANSWERED_CHARACTERS

    def unanswered(self) -> list[tuple[str, str]]:
        """Ids and texts that were taken from the input and have no answer, in its order."""
        return [(id, waiting.text) for id, waiting in self._unanswered.items()]

    def is_empty(self) -> bool:
        """Whether every item that was taken is answered."""
        return not self._unanswered

    def opened(self) -> list[inference_pb2.EmbedStreamRequest]:
        """A stream begins: what is to be sent at once, which is everything without an answer."""
        self.summary.streams += 1
        self.whole = False
        if self._workflow is not None:
            self._workflow.apply(self._opening.routing)
        again = [_request(id, waiting.text) for id, waiting in self._unanswered.items()]
        return [inference_pb2.EmbedStreamRequest(open=self._opening), *again]

    def take(self, given: GivenItem) -> inference_pb2.EmbedStreamRequest | EmbeddedItem:
        """An item of the input: what is to be sent, or its answer if it cannot be. Raises if it is none."""
        index = self._next_index
        id, text = _id_and_text(index, given)
        if not 1 <= len(id.encode("utf-8", "surrogatepass")) <= 128:
            raise ValueError(f"items[{index}]: its id must have 1 to 128 bytes")
        if id in self._unanswered:
            raise ValueError(f"items[{index}]: {id!r} is the id of an earlier item that is not answered yet")
        if len(text) > MOST_TEXT_CHARACTERS:
            self._next_index += 1
            error = ItemError(id, "CONTEXT_LENGTH_EXCEEDED", "the text is longer than any model takes", "")
            return self._answered(EmbeddedItem(id, index, "", error, b""))
        try:
            request = _request(id, text)
        except ValueError as error:
            raise ValueError(f"items[{index}]: {error}") from None
        self._next_index += 1
        self._unanswered[id] = _Unanswered(index, text)
        self._characters += len(text)
        return request

    def answer(self, response: inference_pb2.EmbedStreamResponse) -> EmbeddedItem | None:
        """An item's answer, or None for an event that is none."""
        kind = response.WhichOneof("event")
        if kind == "summary":
            self.whole = True
            self.summary.total_tokens += response.summary.usage.total_tokens
            if self._workflow is not None and response.summary.pinned_region:
                self._workflow.pinned_region = response.summary.pinned_region
            return None
        if kind != "result":
            return None
        result = response.result
        waiting = self._unanswered.get(result.id)
        if waiting is None:
            raise _misbehaviour(f"answered an item that has no answer to come: {result.id!r}")
        outcome = result.WhichOneof("outcome")
        if outcome is None:
            raise _misbehaviour(f"answered {result.id!r} with neither vector nor error")
        item: EmbeddedItem
        if outcome == "error":
            error = ItemError(result.id, result.error.reason, result.error.message, result.region)
            item = EmbeddedItem(result.id, waiting.index, result.region, error, b"")
        else:
            packed = result.embedding.packed_values
            self._must_be_comparable(result.embedding_space, len(packed))
            item = EmbeddedItem(result.id, waiting.index, result.region, None, packed)
        del self._unanswered[result.id]
        self._characters -= len(waiting.text)
        return self._answered(item)

    def _answered(self, item: EmbeddedItem) -> EmbeddedItem:
        if item.error is not None:
            self.summary.failed_items += 1
        else:
            self.summary.embedded_items += 1
            by_region = self.summary.items_by_region
            by_region[item.region] = by_region.get(item.region, 0) + 1
        return item

    def _must_be_comparable(self, space: str, packed_bytes: int) -> None:
        """Streams of one ingestion may reach services of different configuration."""
        dimensions, rest = divmod(packed_bytes, 4)
        if rest or not dimensions:
            raise _misbehaviour(f"answered with {packed_bytes} bytes, which are no vector")
        known = self.summary
        if not known.dimensions:
            known.embedding_space, known.dimensions = space, dimensions
        elif (known.embedding_space, known.dimensions) != (space, dimensions):
            raise FailedPreconditionError(
                f"the vectors so far are of {known.embedding_space} with {known.dimensions} numbers, and the service "
                f"now gives {space} with {dimensions}: they must not meet in one index; embed everything again",
                code=grpc.StatusCode.ABORTED,
                reason="EMBEDDING_SPACE_CHANGED",
            )


class Patience:
    """How often, and for how long, a broken stream is opened again. Its clock is an argument, in seconds."""

    def __init__(self, reconnect_for: float) -> None:
        self._reconnect_for = reconnect_for
        self._pause = FIRST_PAUSE
        self._broken_since: float | None = None

    def answered(self) -> None:
        """The service is there."""
        self._pause, self._broken_since = FIRST_PAUSE, None

    def pause(self, error: SealaneError, now: float) -> float:
        """Seconds to wait before another attempt. Raises the error if there should be none."""
        if self._broken_since is None:
            self._broken_since = now
        if not _may_pass(error) or now - self._broken_since >= self._reconnect_for:
            raise error
        wait = max(self._pause, min(error.retry_delay or 0.0, self._reconnect_for))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        left = self._broken_since + self._reconnect_for - now
        _LOG.warning("an ingestion waits %.1f s and connects again, for %.0f s more at most: %s", wait, left, error)
        return wait


def stream_ended_early() -> SealaneError:
    """The error for a stream that closed without an error, but also without its summary."""
    return UnavailableError("The stream closed before its summary.", code=grpc.StatusCode.UNAVAILABLE)


def _may_pass(error: SealaneError) -> bool:
    """Whether another stream may do better."""
    # The deadline is the service's own, a day, since we state none.
    if isinstance(error, (UnavailableError, ThrottledError, DeadlineExceededError, CallCancelledError)):
        return True
    # Without a reason it is not the service that speaks, but a connection that broke.
    return isinstance(error, InternalError) and not error.reason and not isinstance(error, MessageTooLargeError)


def must_be_items(items: object) -> None:
    """Raises for what could be iterated, but certainly not as was meant."""
    if isinstance(items, str):
        raise TypeError("items: one text was given; put it into a list")
    if isinstance(items, Mapping):
        raise TypeError("items: a mapping of ids to texts was given; pass its items()")


def _id_and_text(index: int, given: object) -> tuple[str, str]:
    if isinstance(given, str):
        return str(index), given
    if isinstance(given, (tuple, list)) and len(given) == 2:
        id, text = given
        if isinstance(id, str) and isinstance(text, str):
            return id, text
    raise TypeError(f"items[{index}]: must be a text, or a tuple of an id and a text; not {type(given).__name__}")


def _need_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise ImportError("vectors as arrays need numpy: pip install 'sealane[numpy]', or use as_list()") from None


def _request(id: str, text: str) -> inference_pb2.EmbedStreamRequest:
    return inference_pb2.EmbedStreamRequest(item=inference_pb2.EmbedItem(id=id, text=text))


def _misbehaviour(what: str) -> InternalError:
    return InternalError(f"The service {what}.", code=grpc.StatusCode.INTERNAL, reason="PROTOCOL_VIOLATED")
