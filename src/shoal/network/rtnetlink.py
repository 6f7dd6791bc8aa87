"""Messages to and from the kernel's rtnetlink, as bytes: links, addresses, routes.

Only what bridges with veth pairs and VXLAN devices need; what lies behind them is in `neighbours.py`. Sockets are
elsewhere (`netlink.py`). Layouts and numbers: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
Integers are in the host's order.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from shoal.errors import InvariantBroken

ERROR, DONE = 2, 3
NEW_LINK, DEL_LINK, GET_LINK, NEW_ADDRESS, GET_ADDRESS, NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 16, 17, 18, 20, 22, 24, 25, 26
REQUEST, MULTI, ACK, REPLACE, EXCLUSIVE, CREATE, DUMP = 0x1, 0x2, 0x4, 0x100, 0x200, 0x400, 0x300
IFF_UP = 1
AF_INET, AF_INET6 = 2, 10

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

# Attributes of a link (IFLA_), of an address (IFA_) and of a route (RTA_).
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_INFO, _IFLA_ALIAS, _IFLA_GROUP, _IFLA_NETNS_FD = (
    1,
    3,
    4,
    10,
    18,
    20,
    27,
    28,
)
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA, _VETH_PEER = 1, 2, 4, 5, 1
_BRPORT_HAIRPIN, _BRPORT_LEARNING = 4, 8
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PROXY, _VXLAN_PORT, _VXLAN_LOCAL6 = 1, 4, 7, 11, 15, 17
_IFLA_LINK, _MACVLAN_MODE = 5, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_NODAD = 2
_RTA_DESTINATION, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_METRICS, _RTAX_MTU = 1, 4, 5, 6, 8, 2
_TABLE_LOCAL, _TYPE_LOCAL = 255, 2
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _SCOPE_LINK, _TYPE_UNICAST = 254, 3, 0, 253, 1


Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

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
    """An interface, as far as we look at it. `master` 0: none; `alias`: words for people; `kind`: veth, vxlan ..."""

    index: int
    name: str
    up: bool
    master: int
    alias: str = ""
    mtu: int = 0
    kind: str = ""
    group: int = 0
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. `interface` 0: several, or none."""

    destination: IPv4Network
    interface: int


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, with its length before it and zeros behind it."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _name(name: str) -> bytes:
    return attribute(_IFLA_NAME, name.encode() + b"\0")


def _int(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _byte(kind: int, value: int) -> bytes:
    return attribute(kind, bytes([value]))


def _mtu(mtu: int) -> bytes:
    return _int(_IFLA_MTU, mtu) if mtu else b""


def _alias(alias: str) -> bytes:
    return attribute(_IFLA_ALIAS, alias.encode(errors="surrogateescape"))


def _family(address: Address | Interface | Network) -> int:
    return AF_INET if address.version == 4 else AF_INET6


def add_bridge(name: str, mtu: int = 0) -> Request:
    """Make a bridge, up. `mtu` 0: the kernel's choice."""
    body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _name(name) + _mtu(mtu)
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + attribute(_IFLA_INFO, attribute(_INFO_KIND, b"bridge")))


def add_veth(
    name: str, master: int, peer_name: str, peer_mac: str, peer_netns_fd: int, *, mtu: int = 0, up: bool = True
) -> Request:
    """Make a veth pair in one step: this end on the bridge `master`, the other in another namespace, down."""
    peer = _LINK.pack(0, 0, 0, 0, 0) + _name(peer_name) + _mtu(mtu)
    peer += attribute(_IFLA_ADDRESS, bytes.fromhex(peer_mac.replace(":", "")))
    peer += _int(_IFLA_NETNS_FD, peer_netns_fd)
    info = attribute(_INFO_KIND, b"veth") + attribute(_INFO_DATA, attribute(_VETH_PEER, peer))
    body = _LINK.pack(0, 0, 0, IFF_UP * up, IFF_UP * up) + _name(name) + _int(_IFLA_MASTER, master) + _mtu(mtu)
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + attribute(_IFLA_INFO, info))


def add_macvlan(name: str, parent: int, mode: int, mac: str, netns_fd: int, *, mtu: int = 0) -> Request:
    """Make a link in another namespace, down, that shares the card of one of the socket's own."""
    info = attribute(_INFO_KIND, b"macvlan") + attribute(_INFO_DATA, _int(_MACVLAN_MODE, mode))
    body = _LINK.pack(0, 0, 0, 0, 0) + _name(name) + _int(_IFLA_LINK, parent) + _int(_IFLA_NETNS_FD, netns_fd)
    body += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) + _mtu(mtu)
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + attribute(_IFLA_INFO, info))


def add_vxlan(name: str, netns_fd: int, vni: int, local: Address, port: int, mtu: int, *, mac: str = "") -> Request:
    """Make a VXLAN device in another namespace, down, whose outer packets go through the socket's own.

    It answers for its neighbours' addresses itself (`proxy`) and learns nothing from what comes: who is where, it is
    told. Made so in one step it never stands in the socket's namespace, not even when we are killed.
    """
    data = _int(_VXLAN_ID, vni) + _byte(_VXLAN_LEARNING, 0) + _byte(_VXLAN_PROXY, 1)
    data += attribute(_VXLAN_LOCAL if local.version == 4 else _VXLAN_LOCAL6, local.packed)
    data += attribute(_VXLAN_PORT, port.to_bytes(2, "big"))
    info = attribute(_INFO_KIND, b"vxlan") + attribute(_INFO_DATA, data)
    body = _LINK.pack(0, 0, 0, 0, 0) + _name(name) + _int(_IFLA_NETNS_FD, netns_fd) + _mtu(mtu)
    if mac:
        body += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    return Request(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + attribute(_IFLA_INFO, info))


def set_master(index: int, master: int) -> Request:
    """Plug a link into a bridge."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + _int(_IFLA_MASTER, master))


def stop_learning(index: int) -> Request:
    """Let a bridge learn no addresses from this port of its."""
    slave = attribute(_INFO_SLAVE_KIND, b"bridge") + attribute(_INFO_SLAVE_DATA, _byte(_BRPORT_LEARNING, 0))
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_INFO, slave))


def hairpin(index: int) -> Request:
    """Let a bridge send a packet out of the port that it came from: to who asked, by a published port."""
    slave = attribute(_INFO_SLAVE_KIND, b"bridge") + attribute(_INFO_SLAVE_DATA, _byte(_BRPORT_HAIRPIN, 1))
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_INFO, slave))


def set_mtu(index: int, mtu: int) -> Request:
    """Change how long a packet may be."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + _mtu(mtu))


def keep_mac(link: Link) -> Request:
    """Give a bridge the MAC that it has, so that it keeps it.

    One that was given none takes the lowest of its ports', and another when that port goes; whoever sends by way of the
    bridge then sends to nobody for as long as the former is remembered.
    """
    mac = attribute(_IFLA_ADDRESS, bytes.fromhex(link.mac.replace(":", "")))
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, link.index, 0, 0) + mac)


def finish(index: int, alias: str) -> Request:
    """Name a link and bring it up, in one step: a link that is up with this alias was made to the end."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP) + _alias(alias))


def set_up(index: int) -> Request:
    """Bring a link up."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))


def set_alias(index: int, alias: str) -> Request:
    """Give a link words for people, at most `ALIAS_BYTES` of them."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + _alias(alias))


def delete_link(index: int) -> Request:
    """Remove a link, and with a veth its other end."""
    return Request(DEL_LINK, ACK, _LINK.pack(0, 0, index, 0, 0))


def set_group(index: int, group: int) -> Request:
    """Put a link into a group of its namespace; all are in group 0 at first."""
    return Request(NEW_LINK, ACK, _LINK.pack(0, 0, index, 0, 0) + _int(_IFLA_GROUP, group))


def delete_group(group: int) -> Request:
    """Remove all links of a group at once: the kernel waits some 15 ms for whoever uses them, however many they are."""
    return Request(DEL_LINK, ACK, _LINK.pack(0, 0, 0, 0, 0) + _int(_IFLA_GROUP, group))


def get_link(name: str) -> Request:
    """Ask for one link by name."""
    return Request(GET_LINK, ACK, _LINK.pack(0, 0, 0, 0, 0) + _name(name))


def list_links() -> Request:
    """Ask for all links."""
    return Request(GET_LINK, DUMP, _LINK.pack(0, 0, 0, 0, 0))


def add_address(index: int, address: Interface) -> Request:
    """Give a link an address. An IPv6 one may be used at once: nobody is asked whether it is another's."""
    flags = _IFA_NODAD if address.version == 6 else 0
    body = _ADDRESS.pack(_family(address), address.network.prefixlen, flags, _SCOPE_UNIVERSE, index)
    body += attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
    if address.version == 4:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    return Request(NEW_ADDRESS, ACK | CREATE | EXCLUSIVE, body)


def list_addresses() -> Request:
    """Ask for all addresses of all links."""
    return Request(GET_ADDRESS, DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))


def _route(destination: Network, gateway: Address) -> bytes:
    length = destination.prefixlen
    body = _ROUTE.pack(
        _family(destination), length, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0
    )
    if length:
        body += attribute(_RTA_DESTINATION, destination.network_address.packed)
    return body + attribute(_RTA_GATEWAY, gateway.packed)


def add_route(destination: Network, gateway: Address, *, replace: bool = False) -> Request:
    """Send what is for a network to a gateway. A length of 0: everything that has no route of its own.

    `replace`: instead of to another gateway.
    """
    return Request(NEW_ROUTE, ACK | CREATE | (REPLACE if replace else EXCLUSIVE), _route(destination, gateway))


def add_device_route(destination: Network, link: int, *, mtu: int = 0) -> Request:
    """Send what is for a network out of a link. `mtu` 0: as long as the link carries."""
    body = _ROUTE.pack(
        _family(destination), destination.prefixlen, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_LINK, _TYPE_UNICAST, 0
    )
    body += attribute(_RTA_DESTINATION, destination.network_address.packed) + _int(_RTA_OIF, link)
    if mtu:
        body += attribute(_RTA_METRICS, _int(_RTAX_MTU, mtu))
    return Request(NEW_ROUTE, ACK | CREATE | REPLACE, body)


def add_local_route(address: IPv6Address, link: int, metric: int) -> Request:
    """Take what comes in by a link for an address of this host; others are asked first, by their metrics."""
    body = _ROUTE.pack(AF_INET6, 128, 0, 0, _TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_LOCAL, 0)
    body += attribute(_RTA_DESTINATION, address.packed) + _int(_RTA_OIF, link) + _int(_RTA_PRIORITY, metric)
    return Request(NEW_ROUTE, ACK | CREATE, body)


def delete_route(destination: Network, gateway: Address) -> Request:
    """Undo `add_route`."""
    return Request(DEL_ROUTE, ACK, _route(destination, gateway))


def add_default_route(gateway: IPv4Address) -> Request:
    """Send everything that has no route of its own to a gateway."""
    return add_route(IPv4Network("0.0.0.0/0"), gateway)


def list_routes() -> Request:
    """Ask for all IPv4 routes."""
    return Request(GET_ROUTE, DUMP, _ROUTE.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))


def list_ways(version: int) -> Request:
    """Ask for all routes of IP version 4 or 6."""
    return Request(GET_ROUTE, DUMP, _ROUTE.pack(AF_INET if version == 4 else AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0))


def split(data: bytes) -> Iterator[Reply]:
    """Yield the messages of one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise InvariantBroken(f"a netlink message says that it has {length} bytes")
        yield Reply(kind, sequence, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attributes(body: bytes) -> dict[int, bytes]:
    """Read attributes by their kinds."""
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
            given = attributes(reply.body[_LINK.size :])
            # A container names its own as it likes, the kernel takes almost any bytes.
            name = given.get(_IFLA_NAME, b"").rstrip(b"\0").decode(errors="surrogateescape")
            alias = given.get(_IFLA_ALIAS, b"").rstrip(b"\0").decode(errors="surrogateescape")
            kind = attributes(given.get(_IFLA_INFO, b"")).get(_INFO_KIND, b"").rstrip(b"\0").decode()
            found.append(
                Link(
                    index,
                    name,
                    up=bool(flags & IFF_UP),
                    master=_uint(given.get(_IFLA_MASTER)),
                    alias=alias,
                    mtu=_uint(given.get(_IFLA_MTU)),
                    kind=kind,
                    group=_uint(given.get(_IFLA_GROUP)),
                    mac=given.get(_IFLA_ADDRESS, b"").hex(":"),
                )
            )
    return found


def addresses(replies: Iterable[Reply]) -> list[tuple[int, Address]]:
    """Read the answers to `list_addresses`: the index of a link, and an address that it has."""
    found: list[tuple[int, Address]] = []
    for reply in replies:
        if reply.type == NEW_ADDRESS:
            *_, index = _ADDRESS.unpack_from(reply.body)
            given = attributes(reply.body[_ADDRESS.size :])
            packed = given.get(_IFA_LOCAL) or given.get(_IFA_ADDRESS, b"")
            if len(packed) == 4:
                found.append((index, IPv4Address(packed)))
            elif len(packed) == 16:
                found.append((index, IPv6Address(packed)))
    return found


def routes(replies: Iterable[Reply]) -> list[Route]:
    """Read the answers to `list_routes`: those of the main table, the default route left out."""
    found = []
    for reply in replies:
        if reply.type == NEW_ROUTE:
            _, length, _, _, table, *_ = _ROUTE.unpack_from(reply.body)
            given = attributes(reply.body[_ROUTE.size :])
            if table == _TABLE_MAIN and length and (destination := given.get(_RTA_DESTINATION)):
                network = IPv4Network((destination, length), strict=False)
                found.append(Route(network, _uint(given.get(_RTA_OIF))))
    return found


def ways(replies: Iterable[Reply], interface: int) -> list[tuple[Network, Address]]:
    """Read the answers to `list_ways`: destinations and gateways of the main table behind an interface."""
    found: list[tuple[Network, Address]] = []
    for reply in replies:
        if reply.type == NEW_ROUTE:
            family, length, _, _, table, *_ = _ROUTE.unpack_from(reply.body)
            given = attributes(reply.body[_ROUTE.size :])
            gateway = given.get(_RTA_GATEWAY)
            if table != _TABLE_MAIN or gateway is None or _uint(given.get(_RTA_OIF)) != interface:
                continue
            if family == AF_INET:
                destination = given.get(_RTA_DESTINATION, bytes(4))
                found.append((IPv4Network((destination, length), strict=False), IPv4Address(gateway)))
            elif family == AF_INET6:
                destination = given.get(_RTA_DESTINATION, bytes(16))
                found.append((IPv6Network((destination, length), strict=False), IPv6Address(gateway)))
    return found
