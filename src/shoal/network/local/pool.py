"""The addresses of one node-local network. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from shoal.errors import ShoalError


class Pool:
    """Hands out the next free address after the last, so that one just freed rests."""

    def __init__(
        self,
        subnet: IPv4Network,
        gateway: IPv4Address,
        given: IPv4Network | None = None,
        kept: Iterable[IPv4Address] = (),
    ) -> None:
        """`given`: only addresses of this part are given out, but for `kept` and the gateway."""
        self.subnet = subnet
        self.gateway = gateway
        part = given or subnet
        self._first = max(int(part[0]), int(subnet[1]))
        self._end = min(int(part[-1]), int(subnet[-2])) + 1
        self._kept = {gateway, *kept}
        self._owners: dict[IPv4Address, str] = {}
        self._next = self._first

    def __len__(self) -> int:
        return len(self._owners)

    def take(self, owner: str, name: str) -> IPv4Address:
        """Return a free address, now `owner`'s. ShoalError, with the network's name, when there is none."""
        # As many steps as there are addresses that are not free, and one: never the whole of a wide subnet.
        most = min(self._end - self._first, len(self._owners) + len(self._kept) + 1)
        for step in range(most):
            number = self._first + (self._next - self._first + step) % (self._end - self._first)
            address = IPv4Address(number)
            if address not in self._owners and address not in self._kept:
                self._owners[address] = owner
                self._next = number + 1
                return address
        raise ShoalError(f"no available IPv4 addresses on this network's address pools: {name}")

    def claim(self, address: IPv4Address, owner: str) -> None:
        """Take note of who has an address already."""
        self._owners[address] = owner
        self._next = max(self._next, int(address) + 1)

    def free(self, owner: str) -> None:
        """Give back what an owner has."""
        self._owners = {address: one for address, one in self._owners.items() if one != owner}

    def owners(self) -> set[str]:
        """Return who has an address."""
        return set(self._owners.values())
