"""Which device and which addresses a translation has. Pure.

All of them are this host's alone: no packet with one of them ever leaves it, or comes in.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from shoal.network.addresses import clients_of_translations, gateway

Purpose = Literal["ports", "mesh"]
"""What uses a translation: ports of this host, or the routing mesh."""
_UNIQUE_LOCAL = 0xFD  # RFC 4193


@dataclass(frozen=True, slots=True)
class Place:
    """One translation: packets from `client6` to `host6` become packets from `client` to `host`, and back.

    The four addresses have one sum, so that the checksums of TCP and UDP hold for both protocols.
    """

    device: str
    client: IPv4Address
    host: IPv4Address
    client6: IPv6Address
    host6: IPv6Address

    @property
    def prefix(self) -> IPv6Network:
        """What both addresses of IPv6 are in."""
        return IPv6Network((int(self.client6) >> 64 << 64, 64))


def place(tag: str, purpose: Purpose, subnet: IPv4Network) -> Place | None:
    """Return a node's translation; `subnet` is its bridge's. None where that is too small to have room for it.

    The client is an address of the bridge's subnet: the rules of IPv4 take it for one of the node's own, and have its
    connections come back by this node. The host is the bridge's own address.
    """
    number = ("ports", "mesh").index(purpose)
    clients = clients_of_translations(subnet)
    if not clients:
        return None
    client, host = clients[number], gateway(subnet)
    digest = hashlib.sha256(f"{tag} {purpose}".encode()).digest()
    prefix = bytes([_UNIQUE_LOCAL]) + digest[:7]
    host6 = IPv6Address(prefix + bytes(7) + b"\x01")
    base = prefix + bytes(6)
    rest = (_sum(client.packed + host.packed) - _sum(base + host6.packed)) % 0xFFFF
    return Place(f"s64{purpose[0]}{tag}", client, host, IPv6Address(base + rest.to_bytes(2, "big")), host6)


def bridge_prefix(tag: str) -> IPv6Network:
    """Return the subnet of IPv6 of a node's bridge: this node's own, as the others are."""
    digest = hashlib.sha256(f"{tag} bridge".encode()).digest()
    return IPv6Network((bytes([_UNIQUE_LOCAL]) + digest[:7] + bytes(8), 64))


def devices(tag: str) -> tuple[str, str]:
    """Return the names of the devices that a node may have."""
    return f"s64p{tag}", f"s64m{tag}"


def _sum(data: bytes) -> int:
    return sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
