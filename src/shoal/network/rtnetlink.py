"""Messages to and from the kernel's rtnetlink, as bytes: links, addresses, routes.

Only what a bridge with veth pairs needs. Sockets are elsewhere (`netlink.py`). Layouts and numbers:
linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h. Integers are in the host's order.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from shoal.errors import InvariantBroken

ERROR, DONE = 2, 3
NEW_LINK, DEL_LINK, GET_LINK, NEW_ADDRESS, NEW_ROUTE, GET_ROUTE = 16, 17, 18, 20, 24, 26
REQUEST, MULTI, ACK, EXCLUSIVE, CREATE, DUMP = 0x1, 0x2, 0x4, 0x200, 0x400, 0x300
IFF_UP = 1
AF_INET = 2

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

# Attributes of a link (IFLA_), of an address (IFA_) and of a route (RTA_).
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MASTER, _IFLA_INFO, _IFLA_ALIAS, _IFLA_NETNS_FD = 1, 3, 10, 18, 20, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DESTINATION, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST = 254, 3, 0, 1


ALIAS_BYTES = 255
"""The kernel's limit: IFALIASZ, less the zero."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message without its sequence number, which the socket gives it."""

    type: int
    flags: int
    body: bytes

    def encode(self, sequence: int) -> bytes:
        """Return the message, to be acknowledged under `sequence`."""
        return _HEADER.pack(_HEADER.size + len(self.body), self.type, self.flags | REQUEST, sequence, 0) + self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """One message of the kernel's."""

    type: int
    sequence: int
    body: bytes

    @property
    def errno(self) -> int:
        """Of an ERROR message: 0 for an acknowledgement."""
        return -int(struct.unpack_from("=i", self.body)[0])


@dataclass(frozen=True, slots=True)
class Link:
    """An interface, as far as we look at it. `master` 0: none; `alias`: words for people."""

    index: int
    name: str
    up: bool
    master: int
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. `interface` 0: several, or none."""

    destination: IPv4Network
    interface: int


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_NAME, name.encode() + b"\0")


def _int(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def add_bridge(name: str) -> Request:
    """Make a bridge, up."""
    body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _name(name) + _attribute(_IFLA_INFO, _attribute(_INFO_KIND, b"bridge"))
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body)


def add_veth(name: str, master: int, peer_name: str, peer_mac: str, peer_netns_fd: int) -> Request:
    """Make a veth pair in one step: this end up and on the bridge `master`, the other in another namespace, down."""
    peer = _LINK.pack(0, 0, 0, 0, 0) + _name(peer_name)
    peer += _attribute(_IFLA_ADDRESS, bytes.fromhex(peer_mac.replace(":", "")))
    peer += _int(_IFLA_NETNS_FD, peer_netns_fd)
    info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer))
    body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _name(name) + _int(_IFLA_MASTER, master)
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + _attribute(_IFLA_INFO, info))


def set_up(index: int) -> Request:
    """Bring a link up."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))


def set_alias(index: int, alias: str) -> Request:
    """Give a link words for people, at most `ALIAS_BYTES` of them."""
    return Request(
        NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + _attribute(_IFLA_ALIAS, alias.encode(errors="surrogateescape"))
    )


def delete_link(index: int) -> Request:
    """Remove a link, and with a veth its other end."""
    return Request(DEL_LINK, ACK, _LINK.pack(0, 0, index, 0, 0))


def get_link(name: str) -> Request:
    """Ask for one link by name."""
    return Request(GET_LINK, ACK, _LINK.pack(0, 0, 0, 0, 0) + _name(name))


def list_links() -> Request:
    """Ask for all links."""
    return Request(GET_LINK, DUMP, _LINK.pack(0, 0, 0, 0, 0))


def add_address(index: int, address: IPv4Interface) -> Request:
    """Give a link an address."""
    body = _ADDRESS.pack(AF_INET, address.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, address.ip.packed) + _attribute(_IFA_ADDRESS, address.ip.packed)
    body += _attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    return Request(NEW_ADDRESS, ACK | CREATE | EXCLUSIVE, body)


def add_default_route(gateway: IPv4Address) -> Request:
    """Send everything that has no route of its own to a gateway."""
    body = _ROUTE.pack(AF_INET, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0)
    return Request(NEW_ROUTE, ACK | CREATE | EXCLUSIVE, body + _attribute(_RTA_GATEWAY, gateway.packed))


def list_routes() -> Request:
    """Ask for all IPv4 routes."""
    return Request(GET_ROUTE, DUMP, _ROUTE.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))


def split(data: bytes) -> Iterator[Reply]:
    """Yield the messages of one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise InvariantBroken(f"a netlink message says that it has {length} bytes")
        yield Reply(kind, sequence, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def _attributes(body: bytes) -> dict[int, bytes]:
    found, offset = {}, 0
    while offset + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _uint(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def links(replies: Iterable[Reply]) -> list[Link]:
    """Read the answers to `get_link` and `list_links`."""
    found = []
    for reply in replies:
        if reply.type == NEW_LINK:
            _, _, index, flags, _ = _LINK.unpack_from(reply.body)
            attributes = _attributes(reply.body[_LINK.size :])
            name = attributes.get(_IFLA_NAME, b"").rstrip(b"\0").decode()
            alias = attributes.get(_IFLA_ALIAS, b"").rstrip(b"\0").decode(errors="surrogateescape")
            found.append(Link(index, name, bool(flags & IFF_UP), _uint(attributes.get(_IFLA_MASTER)), alias))
    return found


def routes(replies: Iterable[Reply]) -> list[Route]:
    """Read the answers to `list_routes`: those of the main table, the default route left out."""
    found = []
    for reply in replies:
        if reply.type == NEW_ROUTE:
            _, length, _, _, table, *_ = _ROUTE.unpack_from(reply.body)
            attributes = _attributes(reply.body[_ROUTE.size :])
            if table == _TABLE_MAIN and length and (destination := attributes.get(_RTA_DESTINATION)):
                network = IPv4Network((destination, length), strict=False)
                found.append(Route(network, _uint(attributes.get(_RTA_OIF))))
    return found
