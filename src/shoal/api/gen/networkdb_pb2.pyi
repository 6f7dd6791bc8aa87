from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GossipMessage(_message.Message):
    __slots__ = ("type", "data")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INVALID: _ClassVar[GossipMessage.Type]
        NETWORK_EVENT: _ClassVar[GossipMessage.Type]
        TABLE_EVENT: _ClassVar[GossipMessage.Type]
        PUSH_PULL: _ClassVar[GossipMessage.Type]
        BULK_SYNC: _ClassVar[GossipMessage.Type]
        COMPOUND: _ClassVar[GossipMessage.Type]
        NODE_EVENT: _ClassVar[GossipMessage.Type]
    INVALID: GossipMessage.Type
    NETWORK_EVENT: GossipMessage.Type
    TABLE_EVENT: GossipMessage.Type
    PUSH_PULL: GossipMessage.Type
    BULK_SYNC: GossipMessage.Type
    COMPOUND: GossipMessage.Type
    NODE_EVENT: GossipMessage.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    type: GossipMessage.Type
    data: bytes
    def __init__(self, type: _Optional[_Union[GossipMessage.Type, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class NodeEvent(_message.Message):
    __slots__ = ("type", "l_time", "node_name")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INVALID: _ClassVar[NodeEvent.Type]
        JOIN: _ClassVar[NodeEvent.Type]
        LEAVE: _ClassVar[NodeEvent.Type]
    INVALID: NodeEvent.Type
    JOIN: NodeEvent.Type
    LEAVE: NodeEvent.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    type: NodeEvent.Type
    l_time: int
    node_name: str
    def __init__(self, type: _Optional[_Union[NodeEvent.Type, str]] = ..., l_time: _Optional[int] = ..., node_name: _Optional[str] = ...) -> None: ...

class NetworkEvent(_message.Message):
    __slots__ = ("type", "l_time", "node_name", "network_id")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INVALID: _ClassVar[NetworkEvent.Type]
        JOIN: _ClassVar[NetworkEvent.Type]
        LEAVE: _ClassVar[NetworkEvent.Type]
    INVALID: NetworkEvent.Type
    JOIN: NetworkEvent.Type
    LEAVE: NetworkEvent.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    type: NetworkEvent.Type
    l_time: int
    node_name: str
    network_id: str
    def __init__(self, type: _Optional[_Union[NetworkEvent.Type, str]] = ..., l_time: _Optional[int] = ..., node_name: _Optional[str] = ..., network_id: _Optional[str] = ...) -> None: ...

class NetworkEntry(_message.Message):
    __slots__ = ("network_id", "l_time", "node_name", "leaving")
    NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    network_id: str
    l_time: int
    node_name: str
    leaving: bool
    def __init__(self, network_id: _Optional[str] = ..., l_time: _Optional[int] = ..., node_name: _Optional[str] = ..., leaving: _Optional[bool] = ...) -> None: ...

class NetworkPushPull(_message.Message):
    __slots__ = ("l_time", "networks", "node_name")
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    l_time: int
    networks: _containers.RepeatedCompositeFieldContainer[NetworkEntry]
    node_name: str
    def __init__(self, l_time: _Optional[int] = ..., networks: _Optional[_Iterable[_Union[NetworkEntry, _Mapping]]] = ..., node_name: _Optional[str] = ...) -> None: ...

class TableEvent(_message.Message):
    __slots__ = ("type", "l_time", "node_name", "network_id", "table_name", "key", "value", "residual_reap_time")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INVALID: _ClassVar[TableEvent.Type]
        CREATE: _ClassVar[TableEvent.Type]
        UPDATE: _ClassVar[TableEvent.Type]
        DELETE: _ClassVar[TableEvent.Type]
    INVALID: TableEvent.Type
    CREATE: TableEvent.Type
    UPDATE: TableEvent.Type
    DELETE: TableEvent.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_REAP_TIME_FIELD_NUMBER: _ClassVar[int]
    type: TableEvent.Type
    l_time: int
    node_name: str
    network_id: str
    table_name: str
    key: str
    value: bytes
    residual_reap_time: int
    def __init__(self, type: _Optional[_Union[TableEvent.Type, str]] = ..., l_time: _Optional[int] = ..., node_name: _Optional[str] = ..., network_id: _Optional[str] = ..., table_name: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., residual_reap_time: _Optional[int] = ...) -> None: ...

class BulkSyncMessage(_message.Message):
    __slots__ = ("l_time", "unsolicited", "node_name", "networks", "payload")
    L_TIME_FIELD_NUMBER: _ClassVar[int]
    UNSOLICITED_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    l_time: int
    unsolicited: bool
    node_name: str
    networks: _containers.RepeatedScalarFieldContainer[str]
    payload: bytes
    def __init__(self, l_time: _Optional[int] = ..., unsolicited: _Optional[bool] = ..., node_name: _Optional[str] = ..., networks: _Optional[_Iterable[str]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class CompoundMessage(_message.Message):
    __slots__ = ("messages",)
    class SimpleMessage(_message.Message):
        __slots__ = ("Payload",)
        PAYLOAD_FIELD_NUMBER: _ClassVar[int]
        Payload: bytes
        def __init__(self, Payload: _Optional[bytes] = ...) -> None: ...
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[CompoundMessage.SimpleMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[CompoundMessage.SimpleMessage, _Mapping]]] = ...) -> None: ...

class PortConfig(_message.Message):
    __slots__ = ("name", "protocol", "target_port", "published_port")
    class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TCP: _ClassVar[PortConfig.Protocol]
        UDP: _ClassVar[PortConfig.Protocol]
        SCTP: _ClassVar[PortConfig.Protocol]
    TCP: PortConfig.Protocol
    UDP: PortConfig.Protocol
    SCTP: PortConfig.Protocol
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    TARGET_PORT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_PORT_FIELD_NUMBER: _ClassVar[int]
    name: str
    protocol: PortConfig.Protocol
    target_port: int
    published_port: int
    def __init__(self, name: _Optional[str] = ..., protocol: _Optional[_Union[PortConfig.Protocol, str]] = ..., target_port: _Optional[int] = ..., published_port: _Optional[int] = ...) -> None: ...

class EndpointRecord(_message.Message):
    __slots__ = ("name", "service_name", "service_id", "virtual_ip", "endpoint_ip", "ingress_ports", "aliases", "task_aliases", "service_disabled", "endpoint_ip6", "virtual_ip6", "shoal_keeps_source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_IP_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_IP_FIELD_NUMBER: _ClassVar[int]
    INGRESS_PORTS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TASK_ALIASES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_DISABLED_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_IP6_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_IP6_FIELD_NUMBER: _ClassVar[int]
    SHOAL_KEEPS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    service_name: str
    service_id: str
    virtual_ip: str
    endpoint_ip: str
    ingress_ports: _containers.RepeatedCompositeFieldContainer[PortConfig]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    task_aliases: _containers.RepeatedScalarFieldContainer[str]
    service_disabled: bool
    endpoint_ip6: str
    virtual_ip6: str
    shoal_keeps_source: bool
    def __init__(self, name: _Optional[str] = ..., service_name: _Optional[str] = ..., service_id: _Optional[str] = ..., virtual_ip: _Optional[str] = ..., endpoint_ip: _Optional[str] = ..., ingress_ports: _Optional[_Iterable[_Union[PortConfig, _Mapping]]] = ..., aliases: _Optional[_Iterable[str]] = ..., task_aliases: _Optional[_Iterable[str]] = ..., service_disabled: _Optional[bool] = ..., endpoint_ip6: _Optional[str] = ..., virtual_ip6: _Optional[str] = ..., shoal_keeps_source: _Optional[bool] = ...) -> None: ...

class PeerRecord(_message.Message):
    __slots__ = ("endpoint_ip", "endpoint_mac", "tunnel_endpoint_ip", "endpoint_ip6")
    ENDPOINT_IP_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_MAC_FIELD_NUMBER: _ClassVar[int]
    TUNNEL_ENDPOINT_IP_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_IP6_FIELD_NUMBER: _ClassVar[int]
    endpoint_ip: str
    endpoint_mac: str
    tunnel_endpoint_ip: str
    endpoint_ip6: str
    def __init__(self, endpoint_ip: _Optional[str] = ..., endpoint_mac: _Optional[str] = ..., tunnel_endpoint_ip: _Optional[str] = ..., endpoint_ip6: _Optional[str] = ...) -> None: ...
