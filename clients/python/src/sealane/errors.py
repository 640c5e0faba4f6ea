"""What a failed call raises. The class says what to do next; the attributes carry the server's own details.

Every error of the service has one `google.rpc.ErrorInfo` of domain `sealane.v1`; its reasons and metadata keys are
listed in the service's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

ERROR_DOMAIN = "sealane.v1"
"""Domain of the `google.rpc.ErrorInfo` that the service attaches to every error."""

STREAM_INTERRUPTED = "STREAM_INTERRUPTED"
"""Reason of a stream that was cut after its first content."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One unusable field of a request."""

    field: str
    """Path of the field as in the proto files, such as `messages[2].content[0].text`."""
    description: str
    """What is wrong with it."""


class SealaneError(Exception):
    """A call failed. Base class of all errors that a call raises."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        region: str = "",
        retry_delay: float | None = None,
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """Status code of the call."""
        self.reason = reason
        """Stable word for the cause, such as `ALL_REGIONS_UNAVAILABLE`; empty if the service never answered."""
        self.region = region
        """Azure region that served or failed last; empty if the error names none."""
        self.retry_delay = retry_delay
        """Seconds to wait before another try, as the service advises; None if it advises nothing."""
        self.violations = violations
        """The unusable fields, for an invalid request."""
        self.metadata: dict[str, str] = dict(metadata or {})
        """Every value that the message mentions, by name."""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class InvalidRequestError(SealaneError):
    """The request can never succeed as it is. Correct it; `violations` names the fields."""


class NotFoundError(SealaneError):
    """The service does not know this model or region. Correct the name."""


class FailedPreconditionError(SealaneError):
    """The service's state or policy forbids the call. Repeating it does not help."""


class NoEligibleRegionError(FailedPreconditionError):
    """Policy and request together leave no region to send this call to. Widen the request or the policy."""


class UnauthenticatedError(SealaneError):
    """Neither token nor client certificate proves who calls; `reason` says why. Supply another."""


class PermissionDeniedError(SealaneError):
    """This caller may not do that."""


class ThrottledError(SealaneError):
    """A quota is used up. Wait `retry_delay` seconds."""


class MessageTooLargeError(SealaneError):
    """The request or the reply is larger than a message may be. Send, or ask for, less in one call."""


class UnavailableError(SealaneError):
    """Neither a region nor perhaps the service itself could be reached. Try again after `retry_delay` seconds."""


class StreamInterruptedError(UnavailableError):
    """A streamed answer was cut. What has arrived is not whole: discard it, or ask again."""


class DeadlineExceededError(SealaneError):
    """The call took longer than its timeout. Whether a region did the work is unknown."""


class CallCancelledError(SealaneError):
    """The call was cancelled, on this side or by the service."""


class InternalError(SealaneError):
    """The service or its upstream misbehaved. Report it, with the message."""


_BY_CODE: dict[grpc.StatusCode, type[SealaneError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ThrottledError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
}

# Reasons that ask for something else than their status code alone does.
_BY_REASON: dict[str, type[SealaneError]] = {
    "NO_ELIGIBLE_REGION": NoEligibleRegionError,
    "REQUEST_TOO_LARGE": MessageTooLargeError,
    "RESPONSE_TOO_LARGE": MessageTooLargeError,
    STREAM_INTERRUPTED: StreamInterruptedError,
}

_REGION_KEYS = ("servedRegion", "lastRegion")

# How gRPC reports a connection that broke under a call, when no status of the service arrived.
_BROKEN_CONNECTION = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


class _FailedCall(Protocol):
    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def from_rpc_error(error: grpc.RpcError, *, answer_begun: bool = False) -> SealaneError:
    """The typed form of what a generated stub raised, for use with the stubs themselves.

    `answer_begun` says that a stream had already delivered an event: then a broken connection is an interrupted
    answer, not just an unreachable service.
    """
    call = cast(_FailedCall, error)
    code = call.code()
    message = call.details() or code.name
    info, retry_delay, violations = _read_details(call.trailing_metadata() or ())
    metadata = dict(info.metadata)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, SealaneError)
    if not info.reason:
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
            kind = MessageTooLargeError  # gRPC's own limit in this process, not a quota
        elif answer_begun and code in _BROKEN_CONNECTION:
            kind = StreamInterruptedError
    return kind(
        message,
        code=code,
        reason=info.reason,
        region=next((metadata[key] for key in _REGION_KEYS if metadata.get(key)), ""),
        retry_delay=retry_delay,
        violations=violations,
        metadata=metadata,
    )


def stream_ended_early(region: str) -> StreamInterruptedError:
    """The error for a stream that closed without an error, but also without its `end` event."""
    return StreamInterruptedError(
        "The stream closed before its end event, so the answer is not whole.",
        code=grpc.StatusCode.UNAVAILABLE,
        reason=STREAM_INTERRUPTED,
        region=region,
    )


def _read_details(
    trailers: Iterable[tuple[str, str | bytes]],
) -> tuple[error_details_pb2.ErrorInfo, float | None, tuple[Violation, ...]]:
    info = error_details_pb2.ErrorInfo()
    retry_delay: float | None = None
    violations: list[Violation] = []
    status = status_pb2.Status()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                continue  # a proxy's garbage must not hide the status itself
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            candidate = error_details_pb2.ErrorInfo.FromString(detail.value)
            if candidate.domain == ERROR_DOMAIN:
                info = candidate
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_delay = delay.seconds + delay.nanos / 1e9
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            violations += [Violation(v.field, v.description) for v in bad.field_violations]
    return info, retry_delay, tuple(violations)
