from shoal.api.gen import objects_pb2 as _objects_pb2
from shoal.api.gen import specs_pb2 as _specs_pb2
from shoal.api.gen import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchActionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_ACTION_UNKNOWN: _ClassVar[WatchActionKind]
    WATCH_ACTION_CREATE: _ClassVar[WatchActionKind]
    WATCH_ACTION_UPDATE: _ClassVar[WatchActionKind]
    WATCH_ACTION_REMOVE: _ClassVar[WatchActionKind]
WATCH_ACTION_UNKNOWN: WatchActionKind
WATCH_ACTION_CREATE: WatchActionKind
WATCH_ACTION_UPDATE: WatchActionKind
WATCH_ACTION_REMOVE: WatchActionKind

class Object(_message.Message):
    __slots__ = ("node", "service", "network", "task", "cluster", "secret", "resource", "extension", "config", "volume")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    node: _objects_pb2.Node
    service: _objects_pb2.Service
    network: _objects_pb2.Network
    task: _objects_pb2.Task
    cluster: _objects_pb2.Cluster
    secret: _objects_pb2.Secret
    resource: _objects_pb2.Resource
    extension: _objects_pb2.Extension
    config: _objects_pb2.Config
    volume: _objects_pb2.Volume
    def __init__(self, node: _Optional[_Union[_objects_pb2.Node, _Mapping]] = ..., service: _Optional[_Union[_objects_pb2.Service, _Mapping]] = ..., network: _Optional[_Union[_objects_pb2.Network, _Mapping]] = ..., task: _Optional[_Union[_objects_pb2.Task, _Mapping]] = ..., cluster: _Optional[_Union[_objects_pb2.Cluster, _Mapping]] = ..., secret: _Optional[_Union[_objects_pb2.Secret, _Mapping]] = ..., resource: _Optional[_Union[_objects_pb2.Resource, _Mapping]] = ..., extension: _Optional[_Union[_objects_pb2.Extension, _Mapping]] = ..., config: _Optional[_Union[_objects_pb2.Config, _Mapping]] = ..., volume: _Optional[_Union[_objects_pb2.Volume, _Mapping]] = ...) -> None: ...

class SelectBySlot(_message.Message):
    __slots__ = ("service_id", "slot")
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    service_id: str
    slot: int
    def __init__(self, service_id: _Optional[str] = ..., slot: _Optional[int] = ...) -> None: ...

class SelectByCustom(_message.Message):
    __slots__ = ("kind", "index", "value")
    KIND_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    index: str
    value: str
    def __init__(self, kind: _Optional[str] = ..., index: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SelectBy(_message.Message):
    __slots__ = ("id", "id_prefix", "name", "name_prefix", "custom", "custom_prefix", "service_id", "node_id", "slot", "desired_state", "role", "membership", "referenced_network_id", "referenced_secret_id", "kind", "referenced_config_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_PREFIX_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    DESIRED_STATE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_SECRET_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_CONFIG_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    id_prefix: str
    name: str
    name_prefix: str
    custom: SelectByCustom
    custom_prefix: SelectByCustom
    service_id: str
    node_id: str
    slot: SelectBySlot
    desired_state: _types_pb2.TaskState
    role: _types_pb2.NodeRole
    membership: _specs_pb2.NodeSpec.Membership
    referenced_network_id: str
    referenced_secret_id: str
    kind: str
    referenced_config_id: str
    def __init__(self, id: _Optional[str] = ..., id_prefix: _Optional[str] = ..., name: _Optional[str] = ..., name_prefix: _Optional[str] = ..., custom: _Optional[_Union[SelectByCustom, _Mapping]] = ..., custom_prefix: _Optional[_Union[SelectByCustom, _Mapping]] = ..., service_id: _Optional[str] = ..., node_id: _Optional[str] = ..., slot: _Optional[_Union[SelectBySlot, _Mapping]] = ..., desired_state: _Optional[_Union[_types_pb2.TaskState, str]] = ..., role: _Optional[_Union[_types_pb2.NodeRole, str]] = ..., membership: _Optional[_Union[_specs_pb2.NodeSpec.Membership, str]] = ..., referenced_network_id: _Optional[str] = ..., referenced_secret_id: _Optional[str] = ..., kind: _Optional[str] = ..., referenced_config_id: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("entries", "resume_from", "include_old_object")
    class WatchEntry(_message.Message):
        __slots__ = ("kind", "action", "filters")
        KIND_FIELD_NUMBER: _ClassVar[int]
        ACTION_FIELD_NUMBER: _ClassVar[int]
        FILTERS_FIELD_NUMBER: _ClassVar[int]
        kind: str
        action: WatchActionKind
        filters: _containers.RepeatedCompositeFieldContainer[SelectBy]
        def __init__(self, kind: _Optional[str] = ..., action: _Optional[_Union[WatchActionKind, str]] = ..., filters: _Optional[_Iterable[_Union[SelectBy, _Mapping]]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_OLD_OBJECT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[WatchRequest.WatchEntry]
    resume_from: _types_pb2.Version
    include_old_object: bool
    def __init__(self, entries: _Optional[_Iterable[_Union[WatchRequest.WatchEntry, _Mapping]]] = ..., resume_from: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., include_old_object: _Optional[bool] = ...) -> None: ...

class WatchMessage(_message.Message):
    __slots__ = ("events", "version")
    class Event(_message.Message):
        __slots__ = ("action", "object", "old_object")
        ACTION_FIELD_NUMBER: _ClassVar[int]
        OBJECT_FIELD_NUMBER: _ClassVar[int]
        OLD_OBJECT_FIELD_NUMBER: _ClassVar[int]
        action: WatchActionKind
        object: Object
        old_object: Object
        def __init__(self, action: _Optional[_Union[WatchActionKind, str]] = ..., object: _Optional[_Union[Object, _Mapping]] = ..., old_object: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[WatchMessage.Event]
    version: _types_pb2.Version
    def __init__(self, events: _Optional[_Iterable[_Union[WatchMessage.Event, _Mapping]]] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ...) -> None: ...
