from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class SpreadBranch(_message.Message):
    __slots__ = ("descriptor", "value", "service_tasks")
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TASKS_FIELD_NUMBER: _ClassVar[int]
    descriptor: str
    value: str
    service_tasks: int
    def __init__(self, descriptor: _Optional[str] = ..., value: _Optional[str] = ..., service_tasks: _Optional[int] = ...) -> None: ...

class NodeVerdict(_message.Message):
    __slots__ = ("node_id", "hostname", "is_chosen", "reasons", "failures", "is_avoided", "spread", "service_tasks", "tasks")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    IS_CHOSEN_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    IS_AVOIDED_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TASKS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    hostname: str
    is_chosen: bool
    reasons: _containers.RepeatedScalarFieldContainer[str]
    failures: int
    is_avoided: bool
    spread: _containers.RepeatedCompositeFieldContainer[SpreadBranch]
    service_tasks: int
    tasks: int
    def __init__(self, node_id: _Optional[str] = ..., hostname: _Optional[str] = ..., is_chosen: _Optional[bool] = ..., reasons: _Optional[_Iterable[str]] = ..., failures: _Optional[int] = ..., is_avoided: _Optional[bool] = ..., spread: _Optional[_Iterable[_Union[SpreadBranch, _Mapping]]] = ..., service_tasks: _Optional[int] = ..., tasks: _Optional[int] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("task_id", "service_id", "state", "node_id", "message", "considered", "suitable", "nodes")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONSIDERED_FIELD_NUMBER: _ClassVar[int]
    SUITABLE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    service_id: str
    state: str
    node_id: str
    message: str
    considered: int
    suitable: int
    nodes: _containers.RepeatedCompositeFieldContainer[NodeVerdict]
    def __init__(self, task_id: _Optional[str] = ..., service_id: _Optional[str] = ..., state: _Optional[str] = ..., node_id: _Optional[str] = ..., message: _Optional[str] = ..., considered: _Optional[int] = ..., suitable: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[NodeVerdict, _Mapping]]] = ...) -> None: ...
