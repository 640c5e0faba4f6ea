from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetSelector(_message.Message):
    __slots__ = ("region", "resource", "model")
    REGION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    region: str
    resource: str
    model: str
    def __init__(self, region: _Optional[str] = ..., resource: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class TargetName(_message.Message):
    __slots__ = ("model", "region", "resource", "deployment")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    region: str
    resource: str
    deployment: str
    def __init__(self, model: _Optional[str] = ..., region: _Optional[str] = ..., resource: _Optional[str] = ..., deployment: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("selector", "reason", "duration")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    selector: TargetSelector
    reason: str
    duration: _duration_pb2.Duration
    def __init__(self, selector: _Optional[_Union[TargetSelector, _Mapping]] = ..., reason: _Optional[str] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("targets", "expire_time", "models_without_target")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODELS_WITHOUT_TARGET_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[TargetName]
    expire_time: _timestamp_pb2.Timestamp
    models_without_target: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, targets: _Optional[_Iterable[_Union[TargetName, _Mapping]]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., models_without_target: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("selector", "reason")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    selector: TargetSelector
    reason: str
    def __init__(self, selector: _Optional[_Union[TargetSelector, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[TargetName]
    def __init__(self, targets: _Optional[_Iterable[_Union[TargetName, _Mapping]]] = ...) -> None: ...

class ValidateRequest(_message.Message):
    __slots__ = ("selector", "reason")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    selector: TargetSelector
    reason: str
    def __init__(self, selector: _Optional[_Union[TargetSelector, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class ValidateResponse(_message.Message):
    __slots__ = ("verdicts", "taken_along")
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    TAKEN_ALONG_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[TargetVerdict]
    taken_along: _containers.RepeatedCompositeFieldContainer[TargetName]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[TargetVerdict, _Mapping]]] = ..., taken_along: _Optional[_Iterable[_Union[TargetName, _Mapping]]] = ...) -> None: ...

class TargetVerdict(_message.Message):
    __slots__ = ("target", "passed", "test_calls", "passed_test_calls", "failure")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    TEST_CALLS_FIELD_NUMBER: _ClassVar[int]
    PASSED_TEST_CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    target: TargetName
    passed: bool
    test_calls: int
    passed_test_calls: int
    failure: str
    def __init__(self, target: _Optional[_Union[TargetName, _Mapping]] = ..., passed: bool = ..., test_calls: _Optional[int] = ..., passed_test_calls: _Optional[int] = ..., failure: _Optional[str] = ...) -> None: ...
