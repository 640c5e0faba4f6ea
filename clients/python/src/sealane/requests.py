"""Turns friendly arguments into requests: a string or dicts for messages, a dict for routing.

Only what cannot be put into a message is refused here, with ValueError or TypeError. Whether a model, a temperature
or a combination is permitted is the service's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypedDict, TypeVar

from google.protobuf import struct_pb2
from google.protobuf.message import Message as ProtobufMessage

from sealane.v1 import common_pb2, inference_pb2, region_pb2
from sealane.workflow import Workflow

Messages: TypeAlias = "str | Iterable[inference_pb2.Message | Mapping[str, Any]]"
"""What to answer: one user message as a string, or messages, oldest first.

A message is a protobuf `Message` or a dict of its fields, in which `role` may be a plain word (`user`, `system`,
`developer`, `assistant`, `tool`) and `content` a string.
"""

Routing: TypeAlias = "common_pb2.RoutingOptions | Mapping[str, Any]"
"""Where a call may go: a protobuf `RoutingOptions` or a dict of its fields."""


class CompleteParameters(TypedDict, total=False):
    """Optional parameters of a completion: the fields of `CompleteRequest`, which states their limits."""

    max_output_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop_sequences: Iterable[str]
    frequency_penalty: float
    presence_penalty: float
    tools: Iterable[inference_pb2.Tool | Mapping[str, Any]]
    tool_choice: inference_pb2.ToolChoice | Mapping[str, Any]
    parallel_tool_calls: bool
    response_format: inference_pb2.ResponseFormat | Mapping[str, Any]
    reasoning_effort: inference_pb2.ReasoningEffort | str
    verbosity: inference_pb2.Verbosity | str
    choice_count: int
    logprobs: bool
    top_logprobs: int
    logit_bias: Mapping[int, float]
    prediction: str
    labels: Mapping[str, str]
    """The request's `metadata`: labels that Azure keeps with a stored completion."""
    end_user_id: str
    user_security_context: inference_pb2.UserSecurityContext | Mapping[str, Any]
    extra_params: struct_pb2.Struct | Mapping[str, Any]


class EmbedParameters(TypedDict, total=False):
    """Optional parameters of an embedding: the fields of `EmbedRequest`, which states their limits."""

    dimensions: int
    encoding: inference_pb2.VectorEncoding | str
    end_user_id: str


_Request = TypeVar("_Request", bound=ProtobufMessage)


def complete_request(
    kind: type[_Request],
    model: str,
    messages: Messages,
    routing: Routing | None,
    workflow: Workflow | None,
    parameters: CompleteParameters,
) -> _Request:
    """A `CompleteRequest` or, with the same fields, a `CompleteStreamRequest`."""
    fields: dict[str, Any] = dict(parameters)
    if "labels" in fields:
        fields["metadata"] = fields.pop("labels")
    if isinstance(extra := fields.get("extra_params"), Mapping):
        fields["extra_params"] = struct_pb2.Struct()
        fields["extra_params"].update(extra)
    return _build(kind, "", model=model, messages=_messages(messages), routing=_routing(routing, workflow), **fields)


def embed_request(
    model: str,
    inputs: str | Iterable[str],
    routing: Routing | None,
    workflow: Workflow | None,
    parameters: EmbedParameters,
) -> inference_pb2.EmbedRequest:
    """An `EmbedRequest`; one string is one input."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    return _build(
        inference_pb2.EmbedRequest,
        "",
        model=model,
        inputs=texts,
        routing=_routing(routing, workflow),
        **parameters,
    )


def embed_stream_open(
    model: str, dimensions: int | None, end_user_id: str, routing: Routing | None, workflow: Workflow | None
) -> inference_pb2.EmbedStreamOpen:
    """The first message of an ingestion; vectors come as bytes."""
    return _build(
        inference_pb2.EmbedStreamOpen,
        "",
        model=model,
        dimensions=dimensions,
        encoding=inference_pb2.VECTOR_ENCODING_FLOAT32_LE_BYTES,
        end_user_id=end_user_id,
        routing=_routing(routing, workflow),
    )


def watch_request(region: str, model: str, max_interval: float | None) -> region_pb2.WatchRegionStatusRequest:
    """A `WatchRegionStatusRequest`; `max_interval` in seconds."""
    request = region_pb2.WatchRegionStatusRequest(region=region, model=model)
    if max_interval is not None:
        request.max_interval.FromNanoseconds(round(max_interval * 1e9))
    return request


def _messages(messages: Messages) -> list[inference_pb2.Message]:
    if isinstance(messages, str):
        return [_message({"role": "user", "content": messages}, "messages[0]")]
    if isinstance(messages, (Mapping, inference_pb2.Message)):
        raise TypeError("messages: one message was given; put it into a list")
    return [
        message if isinstance(message, inference_pb2.Message) else _message(message, f"messages[{index}]")
        for index, message in enumerate(messages)
    ]


def _message(given: Mapping[str, Any], path: str) -> inference_pb2.Message:
    fields = dict(given)
    if isinstance(role := fields.get("role"), str):
        fields["role"] = _role(role, path)
    content = fields.pop("content", None)
    if content is not None:
        parts = [content] if isinstance(content, (str, inference_pb2.ContentPart)) else content
        fields["content"] = [{"text": part} if isinstance(part, str) else part for part in parts]
    return _build(inference_pb2.Message, path, **fields)


def _role(role: str, path: str) -> int:
    name = role if role.startswith("ROLE_") else f"ROLE_{role.upper()}"
    try:
        return inference_pb2.Role.Value(name)
    except ValueError:
        known = ", ".join(known.removeprefix("ROLE_").lower() for known in inference_pb2.Role.keys()[1:])
        raise ValueError(f"{path}.role: {role!r} is none of {known}") from None


def _routing(routing: Routing | None, workflow: Workflow | None) -> common_pb2.RoutingOptions | None:
    if routing is None and workflow is None:
        return None
    options = common_pb2.RoutingOptions()
    if isinstance(routing, common_pb2.RoutingOptions):
        options.CopyFrom(routing)
    elif routing is not None:
        options = _build(common_pb2.RoutingOptions, "routing", **routing)
    if workflow is not None:
        workflow.apply(options)
    return options


def _build(kind: type[_Request], path: str, **fields: Any) -> _Request:
    """Builds a message; unlike protobuf's own errors, ours say which argument was wrong."""
    known = kind.DESCRIPTOR.fields_by_name
    for name in fields:
        if name not in known:
            raise TypeError(f"{path or kind.DESCRIPTOR.name}: there is no field {name!r}")
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path or kind.DESCRIPTOR.name}: {error}") from None
