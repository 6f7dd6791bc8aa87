"""Who is behind a link, as bytes for the kernel: neighbours (address to MAC), forwarding (MAC to where it is).

Layouts and numbers: linux/neighbour.h. A bridge and the VXLAN device that is its port have a forwarding table each:
`beyond` says which.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from shoal.network.rtnetlink import (
    ACK,
    AF_INET,
    AF_INET6,
    CREATE,
    DUMP,
    REPLACE,
    Address,
    Reply,
    Request,
    attribute,
    attributes,
)

NEW_NEIGHBOUR, DEL_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
_AF_BRIDGE = 7
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NDA_DESTINATION, _NDA_LLADDR, _NDA_MASTER = 1, 2, 9
# A static entry is NOARP to a bridge, where PERMANENT means the bridge's own address.
_NOARP, _PERMANENT = 0x40, 0x80
_SELF, _MASTER, _STICKY = 0x02, 0x04, 0x40


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address, and the MAC that has it."""

    link: int
    address: Address
    mac: str


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A MAC of a link's own table (`tunnel`: behind which VXLAN node), or of its bridge's (`tunnel` None)."""

    link: int
    mac: str
    tunnel: Address | None


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _family(address: Address) -> int:
    return AF_INET if address.version == 4 else AF_INET6


def set_neighbour(one: Neighbour) -> Request:
    """Say for good which MAC has an address; what was said of it before is forgotten."""
    body = _NEIGHBOUR.pack(_family(one.address), one.link, _PERMANENT, 0, 0)
    body += attribute(_NDA_DESTINATION, one.address.packed) + attribute(_NDA_LLADDR, _packed(one.mac))
    return Request(NEW_NEIGHBOUR, ACK | CREATE | REPLACE, body)


def delete_neighbour(link: int, address: Address) -> Request:
    """Forget an address."""
    body = _NEIGHBOUR.pack(_family(address), link, 0, 0, 0) + attribute(_NDA_DESTINATION, address.packed)
    return Request(DEL_NEIGHBOUR, ACK, body)


def set_forwarding(one: Forwarding) -> Request:
    """Say for good where a MAC is. In a bridge's table it then stays at this port, whoever else claims it."""
    if one.tunnel is None:
        body = _NEIGHBOUR.pack(_AF_BRIDGE, one.link, _NOARP, _MASTER | _STICKY, 0)
        return Request(NEW_NEIGHBOUR, ACK | CREATE | REPLACE, body + attribute(_NDA_LLADDR, _packed(one.mac)))
    body = _NEIGHBOUR.pack(_AF_BRIDGE, one.link, _NOARP | _PERMANENT, _SELF, 0)
    body += attribute(_NDA_LLADDR, _packed(one.mac)) + attribute(_NDA_DESTINATION, one.tunnel.packed)
    return Request(NEW_NEIGHBOUR, ACK | CREATE | REPLACE, body)


def delete_forwarding(link: int, mac: str, *, beyond: bool) -> Request:
    """Forget a MAC in the link's own table (`beyond`), or in its bridge's."""
    body = _NEIGHBOUR.pack(_AF_BRIDGE, link, 0, _SELF if beyond else _MASTER, 0)
    return Request(DEL_NEIGHBOUR, ACK, body + attribute(_NDA_LLADDR, _packed(mac)))


def list_neighbours() -> list[Request]:
    """Ask for all neighbours of both families."""
    return [Request(GET_NEIGHBOUR, DUMP, _NEIGHBOUR.pack(family, 0, 0, 0, 0)) for family in (AF_INET, AF_INET6)]


def list_forwarding() -> Request:
    """Ask for the forwarding tables of all bridges and VXLAN devices."""
    return Request(GET_NEIGHBOUR, DUMP, _NEIGHBOUR.pack(_AF_BRIDGE, 0, 0, 0, 0))


def neighbours(replies: Iterable[Reply]) -> list[Neighbour]:
    """Read the answers to `list_neighbours`: those that were said for good."""
    found = []
    for family, link, state, _, given in _read(replies):
        address, mac = _address(given.get(_NDA_DESTINATION, b"")), given.get(_NDA_LLADDR, b"")
        if family in (AF_INET, AF_INET6) and state & _PERMANENT and address is not None and len(mac) == 6:
            found.append(Neighbour(link, address, mac.hex(":")))
    return found


def forwarding(replies: Iterable[Reply]) -> list[Forwarding]:
    """Read the answers to `list_forwarding`: those that were said for good.

    A bridge's own table is told by the bridge, in an attribute, not by the flag with which it is written.
    """
    found = []
    for family, link, state, flags, given in _read(replies):
        mac, tunnel = given.get(_NDA_LLADDR, b""), _address(given.get(_NDA_DESTINATION, b""))
        if family != _AF_BRIDGE or not state & _NOARP or len(mac) != 6:
            continue  # learnt, or a port's own
        if flags & _SELF and tunnel is not None:
            found.append(Forwarding(link, mac.hex(":"), tunnel))
        elif _NDA_MASTER in given and not flags & _SELF and not state & _PERMANENT:
            found.append(Forwarding(link, mac.hex(":"), None))
    return found


def _read(replies: Iterable[Reply]) -> Iterable[tuple[int, int, int, int, dict[int, bytes]]]:
    for reply in replies:
        if reply.type == NEW_NEIGHBOUR:
            family, link, state, flags, _ = _NEIGHBOUR.unpack_from(reply.body)
            yield family, link, state, flags, attributes(reply.body[_NEIGHBOUR.size :])


def _address(packed: bytes) -> Address | None:
    if len(packed) == 4:
        return IPv4Address(packed)
    return IPv6Address(packed) if len(packed) == 16 else None
