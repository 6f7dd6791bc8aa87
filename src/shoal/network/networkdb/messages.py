"""What nodes say to each other, as bytes. All of it may be forged: whatever is no message is None, nothing raises.

Strings must be there, short, and without "/" (Docker builds paths of them). Source of fields and types: libnetwork's
networkdb.proto, in gossip.md 2.2.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError

from shoal.api.gen import networkdb_pb2 as pb

MOST_NAME = 256  # characters of a network's, node's, table's name or a key; Docker's longest are 64
MOST_VALUE = 64 * 1024  # bytes; an endpoint with 1,024 ports has 30 kB
MOST_NETWORKS = 1024  # in one bulk sync, and of one node; Docker's are some hundred at the most

Event = TypeVar("Event", pb.NodeEvent, pb.NetworkEvent, pb.TableEvent)

TABLE = pb.GossipMessage.TABLE_EVENT
CREATE, UPDATE, DELETE = pb.TableEvent.CREATE, pb.TableEvent.UPDATE, pb.TableEvent.DELETE
EMPTY_COMPOUND = b"\x08\x05"
# Of a GossipMessage of type COMPOUND: the type, a tag and a length of two bytes.
COMPOUND_OVERHEAD = 5


def wrap(kind: int, data: bytes) -> bytes:
    """Return a GossipMessage. Without data it has no second field, as Docker's has none."""
    return b"\x08" + bytes([kind]) + (b"\x12" + _varint(len(data)) + data if data else b"")


def unwrap(message: bytes) -> tuple[int, bytes] | None:
    """Return type and data of a GossipMessage."""
    outer = pb.GossipMessage()
    if not _parses(outer, message):
        return None
    return outer.type, outer.data


def cost_in_compound(length: int) -> int:
    """Return how many bytes a message of this length takes in a compound, exactly."""
    inner = 1 + len(_varint(length)) + length
    return 1 + len(_varint(inner)) + inner


def compound(messages: Iterable[bytes]) -> bytes:
    """Return one GossipMessage of many.

    Written by hand: a bulk sync has one for each entry of a network, and protobuf would copy each three times.
    """
    parts: list[bytes] = []
    for message in messages:
        head = b"\x0a" + _varint(len(message))
        parts += (b"\x0a", _varint(len(head) + len(message)), head, message)
    return wrap(pb.GossipMessage.COMPOUND, b"".join(parts))


def parts(data: bytes) -> list[bytes] | None:
    """Return the messages in the data of a compound."""
    outer = pb.CompoundMessage()
    if not _parses(outer, data):
        return None
    return [part.Payload for part in outer.messages]


def node_event(kind: "pb.NodeEvent.Type", l_time: int, node: str) -> bytes:
    """Return a NodeEvent, wrapped."""
    event = pb.NodeEvent(type=kind, l_time=l_time, node_name=node)
    return wrap(pb.GossipMessage.NODE_EVENT, event.SerializeToString())


def network_event(kind: "pb.NetworkEvent.Type", l_time: int, node: str, network: str) -> bytes:
    """Return a NetworkEvent, wrapped."""
    event = pb.NetworkEvent(type=kind, l_time=l_time, node_name=node, network_id=network)
    return wrap(pb.GossipMessage.NETWORK_EVENT, event.SerializeToString())


def table_event(
    kind: "pb.TableEvent.Type",
    l_time: int,
    node: str,
    network: str,
    table: str,
    key: str,
    value: bytes,
    residual: int = 0,
) -> bytes:
    """Return a TableEvent, wrapped. `residual`: seconds that a tombstone still has."""
    event = pb.TableEvent(
        type=kind,
        l_time=l_time,
        node_name=node,
        network_id=network,
        table_name=table,
        key=key,
        value=value,
        residual_reap_time=residual,
    )
    return wrap(TABLE, event.SerializeToString())


def bulk_sync(l_time: int, unsolicited: bool, node: str, networks: Sequence[str], payload: bytes) -> bytes:
    """Return a BulkSyncMessage, wrapped. `unsolicited`: please answer."""
    message = pb.BulkSyncMessage(
        l_time=l_time, unsolicited=unsolicited, node_name=node, networks=networks, payload=payload
    )
    return wrap(pb.GossipMessage.BULK_SYNC, message.SerializeToString())


def read_node_event(data: bytes) -> pb.NodeEvent | None:
    """Read a NodeEvent."""
    event = pb.NodeEvent()
    return event if _parses(event, data) and event.type in (1, 2) and _fit(event.node_name) else None


def read_network_event(data: bytes) -> pb.NetworkEvent | None:
    """Read a NetworkEvent."""
    event = pb.NetworkEvent()
    if not _parses(event, data) or event.type not in (1, 2):
        return None
    return event if _fit(event.node_name, event.network_id) else None


def read_table_event(data: bytes) -> pb.TableEvent | None:
    """Read a TableEvent."""
    event = pb.TableEvent()
    if not _parses(event, data) or event.type not in (1, 2, 3) or len(event.value) > MOST_VALUE:
        return None
    return event if _fit(event.node_name, event.network_id, event.table_name, event.key) else None


def read_bulk_sync(data: bytes) -> pb.BulkSyncMessage | None:
    """Read a BulkSyncMessage; what its networks are called is not looked at, as ours alone are looked up."""
    message = pb.BulkSyncMessage()
    if not _parses(message, data) or len(message.networks) > MOST_NETWORKS:
        return None
    return message if _fit(message.node_name) else None


def read_push_pull(message: bytes) -> pb.NetworkPushPull | None:
    """Read the user state of a push/pull, a GossipMessage. Its entries are not looked at yet: `fits` does."""
    outer = unwrap(message)
    state = pb.NetworkPushPull()
    if outer is None or outer[0] != pb.GossipMessage.PUSH_PULL or not _parses(state, outer[1]):
        return None
    return state if _fit(state.node_name) else None


def fits(*names: str) -> bool:
    """Whether each may be the name of a network, a node, a table, or a key."""
    return _fit(*names)


def _fit(*names: str) -> bool:
    for name in names:  # noqa: SIM110  a plain loop is faster, and this is asked of every event
        if not 0 < len(name) <= MOST_NAME or "/" in name:
            return False
    return True


def _parses(
    message: pb.GossipMessage
    | pb.CompoundMessage
    | pb.NodeEvent
    | pb.NetworkEvent
    | pb.TableEvent
    | pb.BulkSyncMessage
    | pb.NetworkPushPull,
    data: bytes,
) -> bool:
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return True


def _varint(number: int) -> bytes:
    return _VARINTS[number] if number < len(_VARINTS) else _long_varint(number)


def _long_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_VARINTS = tuple(_long_varint(number) for number in range(2048))  # the lengths of all but bulk syncs
