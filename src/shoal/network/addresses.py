"""Addresses on this host's own bridge: which subnet, and who has which address in it.

Owns no state on disk and asks nobody: the routes of the host and the addresses in use are arguments.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from shoal.errors import ShoalError

# Docker's default pools (moby daemon/libnetwork/ipamutils/utils.go), without 172.17/16 last, where docker0 usually is.
_POOLS = (
    *(IPv4Network((f"172.{second}.0.0", 16)) for second in range(18, 32)),
    IPv4Network(("172.17.0.0", 16)),
    *(IPv4Network((f"192.168.{third}.0", 20)) for third in range(0, 256, 16)),
)

# A subnet of 16 addresses has room for two that are no container's.
LEAST_FOR_TRANSLATIONS = 28


def candidates(tag: str) -> Iterator[IPv4Network]:
    """Yield the subnets to try, the wide ones first, in an order of this node's own.

    Two nodes on one host that choose at the same moment therefore seldom choose alike.
    """
    start = hashlib.sha256(tag.encode()).digest()[0] % 14
    yield from _POOLS[start:14]
    yield from _POOLS[:start]
    yield from _POOLS[14:]


def choose_subnet(tag: str, used: Iterable[IPv4Network]) -> IPv4Network:
    """Return the first candidate that overlaps nothing in `used`: routes of the host, its name servers."""
    taken = [network for network in used if network.prefixlen > 0]
    for subnet in candidates(tag):
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    # Docker's words: moby daemon/libnetwork/ipam/defaultipam, errdefs of a pool that is used up.
    raise ShoalError("could not find an available, non-overlapping IPv4 address pool among the defaults")


def gateway(subnet: IPv4Network) -> IPv4Address:
    """Return the bridge's own address: the first of the subnet, as Docker has it."""
    return subnet[1]


def clients_of_translations(subnet: IPv4Network) -> tuple[IPv4Address, ...]:
    """Return the addresses that no container gets, since IPv6 clients of published ports are seen by them.

    None in a subnet so small that containers would lack them.
    """
    return (subnet[-2], subnet[-3]) if subnet.prefixlen <= LEAST_FOR_TRANSLATIONS else ()


def mac_address(address: IPv4Address | IPv6Address) -> str:
    """Return Docker's MAC of an address: 02:42 and its last four bytes.

    An address given again keeps its MAC, so that no neighbour's ARP entry goes stale.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed[-4:])


def name_servers(resolv_conf: str) -> list[IPv4Network]:
    """Return the IPv4 name servers of a resolv.conf, as /32 networks: a bridge over one would hide it."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(IPv4Network(ipaddress.IPv4Address(words[1])))
            except ValueError:
                continue  # an IPv6 server, which no IPv4 subnet can hide
    return found


class AddressPool:
    """The addresses of one subnet. Hands out the next free one after the last, so that one just freed rests."""

    def __init__(self, subnet: IPv4Network) -> None:
        self.subnet = subnet
        self._owners: dict[IPv4Address, str] = {}
        self._last = gateway(subnet)

    def __len__(self) -> int:
        return len(self._owners)

    def take(self, owner: str) -> IPv4Address:
        """Return a free address, now `owner`'s. ShoalError when there is none."""
        first, last = int(self.subnet[2]), int(self.subnet[-2]) - len(clients_of_translations(self.subnet))
        count = last - first + 1
        if len(self._owners) < count:
            start = int(self._last) + 1
            for step in range(count):
                address = IPv4Address(first + (start - first + step) % count)
                if address not in self._owners:
                    self._owners[address] = owner
                    self._last = address
                    return address
        raise ShoalError("no available IPv4 addresses on this network's address pools: bridge")

    def claim(self, address: IPv4Address, owner: str) -> bool:
        """Take one certain address; False when it is another's or none of this subnet's."""
        if address not in self.subnet or address in (self.subnet[0], self.subnet[1], self.subnet[-1]):
            return False
        if self._owners.setdefault(address, owner) != owner:
            return False
        self._last = max(self._last, address)
        return True

    def free(self, address: IPv4Address, owner: str) -> None:
        """Give an address back; nothing happens when it is not `owner`'s."""
        if self._owners.get(address) == owner:
            del self._owners[address]
