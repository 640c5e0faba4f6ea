from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProcessingScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROCESSING_SCOPE_UNSPECIFIED: _ClassVar[ProcessingScope]
    PROCESSING_SCOPE_REGIONAL: _ClassVar[ProcessingScope]
    PROCESSING_SCOPE_DATA_ZONE: _ClassVar[ProcessingScope]
    PROCESSING_SCOPE_GLOBAL: _ClassVar[ProcessingScope]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]

class OnInterruption(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_INTERRUPTION_UNSPECIFIED: _ClassVar[OnInterruption]
    ON_INTERRUPTION_FAIL: _ClassVar[OnInterruption]
    ON_INTERRUPTION_RESTART: _ClassVar[OnInterruption]

class Hedge(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEDGE_UNSPECIFIED: _ClassVar[Hedge]
    HEDGE_ALLOWED: _ClassVar[Hedge]
    HEDGE_NEVER: _ClassVar[Hedge]
PROCESSING_SCOPE_UNSPECIFIED: ProcessingScope
PROCESSING_SCOPE_REGIONAL: ProcessingScope
PROCESSING_SCOPE_DATA_ZONE: ProcessingScope
PROCESSING_SCOPE_GLOBAL: ProcessingScope
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BULK: Priority
ON_INTERRUPTION_UNSPECIFIED: OnInterruption
ON_INTERRUPTION_FAIL: OnInterruption
ON_INTERRUPTION_RESTART: OnInterruption
HEDGE_UNSPECIFIED: Hedge
HEDGE_ALLOWED: Hedge
HEDGE_NEVER: Hedge

class RoutingOptions(_message.Message):
    __slots__ = ("workflow_id", "pinned_region", "allowed_regions", "data_boundary", "max_processing_scope", "data_class", "priority", "on_interruption", "hedge")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    PINNED_REGION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_REGIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    MAX_PROCESSING_SCOPE_FIELD_NUMBER: _ClassVar[int]
    DATA_CLASS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ON_INTERRUPTION_FIELD_NUMBER: _ClassVar[int]
    HEDGE_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    pinned_region: str
    allowed_regions: _containers.RepeatedScalarFieldContainer[str]
    data_boundary: str
    max_processing_scope: ProcessingScope
    data_class: str
    priority: Priority
    on_interruption: OnInterruption
    hedge: Hedge
    def __init__(self, workflow_id: _Optional[str] = ..., pinned_region: _Optional[str] = ..., allowed_regions: _Optional[_Iterable[str]] = ..., data_boundary: _Optional[str] = ..., max_processing_scope: _Optional[_Union[ProcessingScope, str]] = ..., data_class: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., on_interruption: _Optional[_Union[OnInterruption, str]] = ..., hedge: _Optional[_Union[Hedge, str]] = ...) -> None: ...

class ServedBy(_message.Message):
    __slots__ = ("region", "data_boundary", "resource", "deployment", "processing_scope", "reported_region", "reported_deployment", "spilled_over", "upstream_request_id", "failed_over", "attempts", "pinned_region")
    REGION_FIELD_NUMBER: _ClassVar[int]
    DATA_BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_SCOPE_FIELD_NUMBER: _ClassVar[int]
    REPORTED_REGION_FIELD_NUMBER: _ClassVar[int]
    REPORTED_DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SPILLED_OVER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FAILED_OVER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    PINNED_REGION_FIELD_NUMBER: _ClassVar[int]
    region: str
    data_boundary: str
    resource: str
    deployment: str
    processing_scope: ProcessingScope
    reported_region: str
    reported_deployment: str
    spilled_over: bool
    upstream_request_id: str
    failed_over: bool
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    pinned_region: str
    def __init__(self, region: _Optional[str] = ..., data_boundary: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ..., processing_scope: _Optional[_Union[ProcessingScope, str]] = ..., reported_region: _Optional[str] = ..., reported_deployment: _Optional[str] = ..., spilled_over: bool = ..., upstream_request_id: _Optional[str] = ..., failed_over: bool = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., pinned_region: _Optional[str] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "region", "resource", "deployment", "reason", "outcome", "failure", "http_status_code", "start_offset", "duration", "upstream_request_id", "maybe_billed")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[Attempt.Outcome]
        OUTCOME_SERVED: _ClassVar[Attempt.Outcome]
        OUTCOME_RATE_LIMITED: _ClassVar[Attempt.Outcome]
        OUTCOME_UNAVAILABLE: _ClassVar[Attempt.Outcome]
        OUTCOME_TIMEOUT: _ClassVar[Attempt.Outcome]
        OUTCOME_CONNECT_FAILED: _ClassVar[Attempt.Outcome]
        OUTCOME_AUTH_FAILED: _ClassVar[Attempt.Outcome]
        OUTCOME_NOT_FOUND: _ClassVar[Attempt.Outcome]
        OUTCOME_CANCELLED: _ClassVar[Attempt.Outcome]
        OUTCOME_BAD_RESPONSE: _ClassVar[Attempt.Outcome]
        OUTCOME_REJECTED: _ClassVar[Attempt.Outcome]
    OUTCOME_UNSPECIFIED: Attempt.Outcome
    OUTCOME_SERVED: Attempt.Outcome
    OUTCOME_RATE_LIMITED: Attempt.Outcome
    OUTCOME_UNAVAILABLE: Attempt.Outcome
    OUTCOME_TIMEOUT: Attempt.Outcome
    OUTCOME_CONNECT_FAILED: Attempt.Outcome
    OUTCOME_AUTH_FAILED: Attempt.Outcome
    OUTCOME_NOT_FOUND: Attempt.Outcome
    OUTCOME_CANCELLED: Attempt.Outcome
    OUTCOME_BAD_RESPONSE: Attempt.Outcome
    OUTCOME_REJECTED: Attempt.Outcome
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Attempt.Reason]
        REASON_ROUTE: _ClassVar[Attempt.Reason]
        REASON_PIN: _ClassVar[Attempt.Reason]
        REASON_RESCUE: _ClassVar[Attempt.Reason]
        REASON_SPILL: _ClassVar[Attempt.Reason]
        REASON_RETRY: _ClassVar[Attempt.Reason]
        REASON_HEDGE: _ClassVar[Attempt.Reason]
        REASON_RESTART: _ClassVar[Attempt.Reason]
        REASON_RETURN: _ClassVar[Attempt.Reason]
    REASON_UNSPECIFIED: Attempt.Reason
    REASON_ROUTE: Attempt.Reason
    REASON_PIN: Attempt.Reason
    REASON_RESCUE: Attempt.Reason
    REASON_SPILL: Attempt.Reason
    REASON_RETRY: Attempt.Reason
    REASON_HEDGE: Attempt.Reason
    REASON_RESTART: Attempt.Reason
    REASON_RETURN: Attempt.Reason
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MAYBE_BILLED_FIELD_NUMBER: _ClassVar[int]
    number: int
    region: str
    resource: str
    deployment: str
    reason: Attempt.Reason
    outcome: Attempt.Outcome
    failure: str
    http_status_code: int
    start_offset: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    upstream_request_id: str
    maybe_billed: bool
    def __init__(self, number: _Optional[int] = ..., region: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ..., reason: _Optional[_Union[Attempt.Reason, str]] = ..., outcome: _Optional[_Union[Attempt.Outcome, str]] = ..., failure: _Optional[str] = ..., http_status_code: _Optional[int] = ..., start_offset: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., upstream_request_id: _Optional[str] = ..., maybe_billed: bool = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "total_tokens", "cached_input_tokens", "reasoning_output_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_PREDICTION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_PREDICTION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_input_tokens: int
    reasoning_output_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., reasoning_output_tokens: _Optional[int] = ..., accepted_prediction_tokens: _Optional[int] = ..., rejected_prediction_tokens: _Optional[int] = ...) -> None: ...
