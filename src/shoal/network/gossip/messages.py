"""memberlist's messages and their bytes: each begins with a byte that names its kind.

Pure. Reading is total: InvalidArgument for what is no such message. Addresses are packed bytes, an IPv4 address always
four of them, since peers compare them byte by byte. Source: gossip.md 1.2 and 1.7.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, TypeVar

from shoal.errors import InvalidArgument
from shoal.network.gossip.msgpack import Field, Reader, Value, pack_map

MAX_NAME = 128  # bytes; Docker's names have 12
MAX_META = 512  # memberlist's own limit; Docker's are empty
MAX_PAYLOAD = 512  # of an ack; nobody sends one
DEFAULT_PORT = 7946
_MAPPED = bytes(10) + b"\xff\xff"
_U32 = 1 << 32


class Kind(IntEnum):
    """The first byte of a message."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    LABEL = 244


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you alive? `node`: the name of who is asked. Without a source the answer goes where the packet came from."""

    kind: ClassVar[Kind] = Kind.PING
    seq: int
    node: str
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {
            "Node": self.node.encode(),
            "SeqNo": self.seq,
            **_source(self.source_address, self.source_port, self.source_node),
        }

    @staticmethod
    def read(fields: "Fields") -> "Ping":
        """Read what was sent."""
        return Ping(
            fields.number("SeqNo", _U32),
            fields.name("Node", empty=True),
            fields.address("SourceAddr", empty=True),
            fields.number("SourcePort", 1 << 16),
            fields.name("SourceNode", empty=True),
        )


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Ask `node` for me. `nack`: say so when it does not answer."""

    kind: ClassVar[Kind] = Kind.INDIRECT_PING
    seq: int
    target: bytes
    port: int
    node: str
    nack: bool = False
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {
            "Nack": self.nack,
            "Node": self.node.encode(),
            "Port": self.port,
            "SeqNo": self.seq,
            "Target": self.target,
            **_source(self.source_address, self.source_port, self.source_node),
        }

    @staticmethod
    def read(fields: "Fields") -> "IndirectPing":
        """Read what was sent."""
        return IndirectPing(
            fields.number("SeqNo", _U32),
            fields.address("Target"),
            fields.port("Port"),
            fields.name("Node", empty=True),
            fields.flag("Nack"),
            fields.address("SourceAddr", empty=True),
            fields.number("SourcePort", 1 << 16),
            fields.name("SourceNode", empty=True),
        )


@dataclass(frozen=True, slots=True)
class Ack:
    """I am alive."""

    kind: ClassVar[Kind] = Kind.ACK
    seq: int

    def fields(self) -> dict[str, Field]:
        """Return what is sent. We add nothing of our own, as Docker does not."""
        return {"Payload": None, "SeqNo": self.seq}

    @staticmethod
    def read(fields: "Fields") -> "Ack":
        """Read what was sent."""
        fields.raw("Payload", MAX_PAYLOAD)
        return Ack(fields.number("SeqNo", _U32))


@dataclass(frozen=True, slots=True)
class Nack:
    """I am alive, but the one whom I asked for you did not answer me."""

    kind: ClassVar[Kind] = Kind.NACK
    seq: int

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {"SeqNo": self.seq}

    @staticmethod
    def read(fields: "Fields") -> "Nack":
        """Read what was sent."""
        return Nack(fields.number("SeqNo", _U32))


@dataclass(frozen=True, slots=True)
class Suspect:
    """`sender` got no answer from `node`."""

    kind: ClassVar[Kind] = Kind.SUSPECT
    incarnation: int
    node: str
    sender: str

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {"From": self.sender.encode(), "Incarnation": self.incarnation, "Node": self.node.encode()}

    @staticmethod
    def read(fields: "Fields") -> "Suspect":
        """Read what was sent."""
        return Suspect(fields.number("Incarnation", _U32), fields.name("Node"), fields.name("From", empty=True))


@dataclass(frozen=True, slots=True)
class Dead:
    """`node` has been silent for too long; where it says so of itself, it has left."""

    kind: ClassVar[Kind] = Kind.DEAD
    incarnation: int
    node: str
    sender: str

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {"From": self.sender.encode(), "Incarnation": self.incarnation, "Node": self.node.encode()}

    @staticmethod
    def read(fields: "Fields") -> "Dead":
        """Read what was sent."""
        return Dead(fields.number("Incarnation", _U32), fields.name("Node"), fields.name("From", empty=True))


@dataclass(frozen=True, slots=True)
class Alive:
    """`node` is alive, there."""

    kind: ClassVar[Kind] = Kind.ALIVE
    incarnation: int
    node: str
    address: bytes
    port: int
    meta: bytes = b""
    versions: bytes = b""  # not checked here: see members.is_compatible

    def fields(self) -> dict[str, Field]:
        """Return what is sent."""
        return {
            "Addr": self.address,
            "Incarnation": self.incarnation,
            "Meta": self.meta,
            "Node": self.node.encode(),
            "Port": self.port,
            "Vsn": self.versions,
        }

    @staticmethod
    def read(fields: "Fields") -> "Alive":
        """Read what was sent."""
        return Alive(
            fields.number("Incarnation", _U32),
            fields.name("Node"),
            fields.address("Addr"),
            fields.port("Port"),
            fields.raw("Meta", MAX_META),
            fields.raw("Vsn", MAX_META),
        )


Message = Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive
M = TypeVar("M", bound=Message)

_READERS = {kind.kind: kind.read for kind in (Ping, IndirectPing, Ack, Nack, Suspect, Dead, Alive)}


class Fields:
    """The fields of a message, each checked when it is read. A missing one is zero."""

    def __init__(self, values: dict[str, Value]) -> None:
        self._values = values

    def number(self, name: str, below: int) -> int:
        """Return a number from 0 on."""
        value = self._values.get(name)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value < below:
            raise InvalidArgument(f"{name} is not a number from 0 to {below - 1}")
        return value

    def flag(self, name: str) -> bool:
        """Return a truth."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise InvalidArgument(f"{name} is neither true nor false")
        return value

    def raw(self, name: str, longest: int) -> bytes:
        """Return bytes."""
        value = self._values.get(name)
        if value is None:
            return b""
        if not isinstance(value, bytes) or len(value) > longest:
            raise InvalidArgument(f"{name} is not up to {longest} bytes")
        return value

    def name(self, name: str, *, empty: bool = False) -> str:
        """Return a node's name."""
        try:
            value = self.raw(name, MAX_NAME).decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{name} is no text") from error
        if not value and not empty:
            raise InvalidArgument(f"{name} is empty")
        return value

    def address(self, name: str, *, empty: bool = False) -> bytes:
        """Return a packed address that one machine can have, an IPv4 address in four bytes."""
        value = self.raw(name, 16)
        if not value and empty:
            return value
        if len(value) == 16 and value.startswith(_MAPPED):
            value = value[12:]
        if len(value) not in (4, 16) or not any(value):
            raise InvalidArgument(f"{name} is no address")
        if value[0] == 0xFF or (len(value) == 4 and value[0] >= 0xE0):  # IPv6 multicast; IPv4 multicast and above
            raise InvalidArgument(f"{name} is the address of many, or of none")
        return value

    def port(self, name: str) -> int:
        """Return a port; none is the usual one."""
        return self.number(name, 1 << 16) or DEFAULT_PORT


def encode(message: Message) -> bytes:
    """Return a message with the byte that names its kind."""
    return bytes((message.kind,)) + pack_map(message.fields())


def decode(data: bytes) -> Message:
    """Read a message, with the byte that names its kind. What follows it is not looked at, as in memberlist."""
    if data and data[0] in _SPREAD and len(data) <= _SHORT:
        return _decode_spread(data)
    return _decode(data)


@lru_cache(1024)
def _decode_spread(data: bytes) -> Message:
    # What is spread comes from many others, the same each time.
    return _decode(data)


def _decode(data: bytes) -> Message:
    reader = _READERS.get(Kind(data[0])) if data and data[0] in _KINDS else None
    if reader is None:
        raise InvalidArgument(f"there is no message of kind {data[:1].hex() or 'nothing'} here")
    return reader(Fields(Reader(data, 1).read_map()))


_SHORT = 512  # of these, so that the cache stays small
_KINDS = frozenset(int(kind) for kind in Kind)
_SPREAD = frozenset((Kind.SUSPECT, Kind.ALIVE, Kind.DEAD))


def _source(address: bytes, port: int, node: str) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    if address:
        fields["SourceAddr"] = address
    if port:
        fields["SourcePort"] = port
    if node:
        fields["SourceNode"] = node.encode()
    return fields
