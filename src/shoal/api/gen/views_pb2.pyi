from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ViewRequest(_message.Message):
    __slots__ = ("id", "network_ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    network_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., network_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ViewAnswer(_message.Message):
    __slots__ = ("id", "views", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    views: bytes
    reason: str
    def __init__(self, id: _Optional[str] = ..., views: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class ViewAnswered(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ViewsRequest(_message.Message):
    __slots__ = ("network_ids",)
    NETWORK_IDS_FIELD_NUMBER: _ClassVar[int]
    network_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, network_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeViews(_message.Message):
    __slots__ = ("node_id", "hostname", "address", "asked", "reason", "views")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    hostname: str
    address: str
    asked: bool
    reason: str
    views: bytes
    def __init__(self, node_id: _Optional[str] = ..., hostname: _Optional[str] = ..., address: _Optional[str] = ..., asked: _Optional[bool] = ..., reason: _Optional[str] = ..., views: _Optional[bytes] = ...) -> None: ...

class ViewsReply(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeViews]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeViews, _Mapping]]] = ...) -> None: ...
