from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sealane.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Standing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STANDING_UNSPECIFIED: _ClassVar[Standing]
    STANDING_SERVING: _ClassVar[Standing]
    STANDING_SUSPECTED: _ClassVar[Standing]
    STANDING_OUT: _ClassVar[Standing]
    STANDING_RETURNING: _ClassVar[Standing]

class Overlay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERLAY_UNSPECIFIED: _ClassVar[Overlay]
    OVERLAY_COOLING: _ClassVar[Overlay]
    OVERLAY_DRAINED: _ClassVar[Overlay]
    OVERLAY_MISCONFIGURED: _ClassVar[Overlay]
    OVERLAY_QUARANTINED: _ClassVar[Overlay]
    OVERLAY_DRIFTED: _ClassVar[Overlay]
STANDING_UNSPECIFIED: Standing
STANDING_SERVING: Standing
STANDING_SUSPECTED: Standing
STANDING_OUT: Standing
STANDING_RETURNING: Standing
OVERLAY_UNSPECIFIED: Overlay
OVERLAY_COOLING: Overlay
OVERLAY_DRAINED: Overlay
OVERLAY_MISCONFIGURED: Overlay
OVERLAY_QUARANTINED: Overlay
OVERLAY_DRIFTED: Overlay

class RegionStatusRequest(_message.Message):
    __slots__ = ("region", "model")
    REGION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    region: str
    model: str
    def __init__(self, region: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class RegionStatusResponse(_message.Message):
    __slots__ = ("regions", "models", "observe_time", "config_revision", "transitions", "alarms", "off_pin_calls", "test_call_tokens_left")
    class OffPinCallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_REVISION_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    OFF_PIN_CALLS_FIELD_NUMBER: _ClassVar[int]
    TEST_CALL_TOKENS_LEFT_FIELD_NUMBER: _ClassVar[int]
    regions: _containers.RepeatedCompositeFieldContainer[RegionState]
    models: _containers.RepeatedCompositeFieldContainer[ModelState]
    observe_time: _timestamp_pb2.Timestamp
    config_revision: str
    transitions: _containers.RepeatedCompositeFieldContainer[Transition]
    alarms: _containers.RepeatedCompositeFieldContainer[Alarm]
    off_pin_calls: _containers.ScalarMap[str, int]
    test_call_tokens_left: int
    def __init__(self, regions: _Optional[_Iterable[_Union[RegionState, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelState, _Mapping]]] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., config_revision: _Optional[str] = ..., transitions: _Optional[_Iterable[_Union[Transition, _Mapping]]] = ..., alarms: _Optional[_Iterable[_Union[Alarm, _Mapping]]] = ..., off_pin_calls: _Optional[_Mapping[str, int]] = ..., test_call_tokens_left: _Optional[int] = ...) -> None: ...

class WatchRegionStatusRequest(_message.Message):
    __slots__ = ("region", "model", "max_interval")
    REGION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    region: str
    model: str
    max_interval: _duration_pb2.Duration
    def __init__(self, region: _Optional[str] = ..., model: _Optional[str] = ..., max_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchRegionStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: RegionStatusResponse
    def __init__(self, status: _Optional[_Union[RegionStatusResponse, _Mapping]] = ...) -> None: ...

class RegionState(_message.Message):
    __slots__ = ("region", "data_boundary", "targets", "pinned_workflows")
    REGION_FIELD_NUMBER: _ClassVar[int]
    DATA_BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    PINNED_WORKFLOWS_FIELD_NUMBER: _ClassVar[int]
    region: str
    data_boundary: str
    targets: _containers.RepeatedCompositeFieldContainer[TargetState]
    pinned_workflows: int
    def __init__(self, region: _Optional[str] = ..., data_boundary: _Optional[str] = ..., targets: _Optional[_Iterable[_Union[TargetState, _Mapping]]] = ..., pinned_workflows: _Optional[int] = ...) -> None: ...

class ModelState(_message.Message):
    __slots__ = ("model", "active_region", "active_resource", "active_deployment", "ready_standbys", "pinned_workflows")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_REGION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_RESOURCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    READY_STANDBYS_FIELD_NUMBER: _ClassVar[int]
    PINNED_WORKFLOWS_FIELD_NUMBER: _ClassVar[int]
    model: str
    active_region: str
    active_resource: str
    active_deployment: str
    ready_standbys: int
    pinned_workflows: int
    def __init__(self, model: _Optional[str] = ..., active_region: _Optional[str] = ..., active_resource: _Optional[str] = ..., active_deployment: _Optional[str] = ..., ready_standbys: _Optional[int] = ..., pinned_workflows: _Optional[int] = ...) -> None: ...

class TargetState(_message.Message):
    __slots__ = ("model", "resource", "deployment", "priority", "processing_scope", "standing", "standing_since_time", "standing_reason", "next_step", "next_step_time", "overlay", "cooling_until_time", "drained_until_time", "out_level", "traffic_share", "in_flight_calls", "recent_attempts", "recent_success_ratio", "latency_p50", "latency_p95", "last_success_time", "last_failure_time", "last_failure", "remaining_requests", "remaining_tokens", "served_calls", "failed_attempts", "last_proven_time", "test_calls", "test_call_tokens", "passed_test_calls", "drain_reason", "misconfigured_since_time", "quarantined_since_time", "last_test_call_time", "last_test_call_failure", "last_failure_http_status", "drained_since_time", "embedding_space", "space_compared_time", "space_cosine", "drifted_since_time", "drift_reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_SCOPE_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    STANDING_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    STANDING_REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_TIME_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_FIELD_NUMBER: _ClassVar[int]
    COOLING_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    DRAINED_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    OUT_LEVEL_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_SHARE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_CALLS_FIELD_NUMBER: _ClassVar[int]
    RECENT_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RECENT_SUCCESS_RATIO_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P50_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P95_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SERVED_CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_PROVEN_TIME_FIELD_NUMBER: _ClassVar[int]
    TEST_CALLS_FIELD_NUMBER: _ClassVar[int]
    TEST_CALL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSED_TEST_CALLS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_REASON_FIELD_NUMBER: _ClassVar[int]
    MISCONFIGURED_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TEST_CALL_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TEST_CALL_FAILURE_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_SPACE_FIELD_NUMBER: _ClassVar[int]
    SPACE_COMPARED_TIME_FIELD_NUMBER: _ClassVar[int]
    SPACE_COSINE_FIELD_NUMBER: _ClassVar[int]
    DRIFTED_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    DRIFT_REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    resource: str
    deployment: str
    priority: int
    processing_scope: _common_pb2.ProcessingScope
    standing: Standing
    standing_since_time: _timestamp_pb2.Timestamp
    standing_reason: str
    next_step: str
    next_step_time: _timestamp_pb2.Timestamp
    overlay: Overlay
    cooling_until_time: _timestamp_pb2.Timestamp
    drained_until_time: _timestamp_pb2.Timestamp
    out_level: int
    traffic_share: float
    in_flight_calls: int
    recent_attempts: int
    recent_success_ratio: float
    latency_p50: _duration_pb2.Duration
    latency_p95: _duration_pb2.Duration
    last_success_time: _timestamp_pb2.Timestamp
    last_failure_time: _timestamp_pb2.Timestamp
    last_failure: str
    remaining_requests: int
    remaining_tokens: int
    served_calls: int
    failed_attempts: int
    last_proven_time: _timestamp_pb2.Timestamp
    test_calls: int
    test_call_tokens: int
    passed_test_calls: int
    drain_reason: str
    misconfigured_since_time: _timestamp_pb2.Timestamp
    quarantined_since_time: _timestamp_pb2.Timestamp
    last_test_call_time: _timestamp_pb2.Timestamp
    last_test_call_failure: str
    last_failure_http_status: int
    drained_since_time: _timestamp_pb2.Timestamp
    embedding_space: str
    space_compared_time: _timestamp_pb2.Timestamp
    space_cosine: float
    drifted_since_time: _timestamp_pb2.Timestamp
    drift_reason: str
    def __init__(self, model: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ..., priority: _Optional[int] = ..., processing_scope: _Optional[_Union[_common_pb2.ProcessingScope, str]] = ..., standing: _Optional[_Union[Standing, str]] = ..., standing_since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., standing_reason: _Optional[str] = ..., next_step: _Optional[str] = ..., next_step_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., overlay: _Optional[_Union[Overlay, str]] = ..., cooling_until_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., drained_until_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., out_level: _Optional[int] = ..., traffic_share: _Optional[float] = ..., in_flight_calls: _Optional[int] = ..., recent_attempts: _Optional[int] = ..., recent_success_ratio: _Optional[float] = ..., latency_p50: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., latency_p95: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., last_success_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure: _Optional[str] = ..., remaining_requests: _Optional[int] = ..., remaining_tokens: _Optional[int] = ..., served_calls: _Optional[int] = ..., failed_attempts: _Optional[int] = ..., last_proven_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., test_calls: _Optional[int] = ..., test_call_tokens: _Optional[int] = ..., passed_test_calls: _Optional[int] = ..., drain_reason: _Optional[str] = ..., misconfigured_since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., quarantined_since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_test_call_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_test_call_failure: _Optional[str] = ..., last_failure_http_status: _Optional[int] = ..., drained_since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., embedding_space: _Optional[str] = ..., space_compared_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., space_cosine: _Optional[float] = ..., drifted_since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., drift_reason: _Optional[str] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("kind", "message", "model", "region", "resource", "deployment", "alarm_time")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    ALARM_TIME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    model: str
    region: str
    resource: str
    deployment: str
    alarm_time: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., model: _Optional[str] = ..., region: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ..., alarm_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Transition(_message.Message):
    __slots__ = ("transition_time", "model", "region", "resource", "deployment", "from_standing", "to_standing", "reason")
    TRANSITION_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    FROM_STANDING_FIELD_NUMBER: _ClassVar[int]
    TO_STANDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    transition_time: _timestamp_pb2.Timestamp
    model: str
    region: str
    resource: str
    deployment: str
    from_standing: Standing
    to_standing: Standing
    reason: str
    def __init__(self, transition_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., region: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ..., from_standing: _Optional[_Union[Standing, str]] = ..., to_standing: _Optional[_Union[Standing, str]] = ..., reason: _Optional[str] = ...) -> None: ...
