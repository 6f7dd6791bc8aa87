"""The subnets of the swarm's networks, and the next one to give.

Pure. Given subnets do not overlap, so a new one only needs to be compared with its two neighbours. Networks that ask
for no subnet get a piece of the swarm's default pools. The next piece is always a higher one, so a freed piece is not
reused for a while. Source: SwarmKit; its defaults are 10.0.0.0/8 in pieces of /24.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument
from shoal.manager.allocator.addresses import V4, V6, Subnet, parse_subnet

DEFAULT_POOL = "10.0.0.0/8"
DEFAULT_SIZE = 24


@dataclass
class _Family:
    """The subnets of one family, ordered by their first address, with their networks."""

    starts: list[int] = field(default_factory=list)
    subnets: list[tuple[Subnet, str]] = field(default_factory=list)
    # Subnets that overlap with one of those. Only a store that another program has written can have them.
    odd: list[tuple[Subnet, str]] = field(default_factory=list)

    def overlapping(self, first: int, last: int) -> tuple[Subnet, str] | None:
        at = bisect_right(self.starts, last)
        if at and self.subnets[at - 1][0].last >= first:
            return self.subnets[at - 1]
        return next((pair for pair in self.odd if pair[0].first <= last and pair[0].last >= first), None)


class Subnets:
    """The subnets of all networks."""

    def __init__(self) -> None:
        self._families = {V4: _Family(), V6: _Family()}
        self._owned: dict[str, list[Subnet]] = {}
        self._pools: list[Subnet] = [parse_subnet(DEFAULT_POOL)]
        self._size = DEFAULT_SIZE
        self._next = 0  # the first address of the piece at which the search begins
        self._next_pool = 0

    def configure(self, pools: Iterable[str], size: int) -> None:
        """Use these default pools, in pieces of this prefix length. Empty and 0 mean Swarm's defaults."""
        found = []
        for text in pools:
            try:
                found.append(parse_subnet(text))
            except InvalidArgument:
                continue  # It was checked when the swarm was made. A malformed one has no subnets.
        self._pools = found or [parse_subnet(DEFAULT_POOL)]
        self._size = size or DEFAULT_SIZE
        self._next_pool = self._next = 0

    def owner_of(self, subnet: Subnet) -> tuple[Subnet, str] | None:
        """Return a subnet that overlaps with this one, and its network."""
        return self._families[subnet.bits].overlapping(subnet.first, subnet.last)

    def of(self, network_id: str) -> list[Subnet]:
        """Return a network's subnets."""
        return list(self._owned.get(network_id, ()))

    def hold(self, subnet: Subnet, network_id: str) -> None:
        """Record a network's subnet."""
        self._owned.setdefault(network_id, []).append(subnet)
        self._enter(subnet, network_id)

    def _enter(self, subnet: Subnet, network_id: str) -> None:
        family = self._families[subnet.bits]
        if family.overlapping(subnet.first, subnet.last):
            family.odd.append((subnet, network_id))
            return
        at = bisect_right(family.starts, subnet.first)
        family.starts.insert(at, subnet.first)
        family.subnets.insert(at, (subnet, network_id))

    def release(self, subnet: Subnet, network_id: str) -> None:
        """Forget a network's subnet."""
        self._owned[network_id].remove(subnet)
        if not self._owned[network_id]:
            del self._owned[network_id]
        family = self._families[subnet.bits]
        at = bisect_right(family.starts, subnet.first) - 1
        if at >= 0 and family.subnets[at] == (subnet, network_id):
            del family.starts[at], family.subnets[at]
            # Subnets that overlapped with it can be compared by their neighbours now.
            shadowed, family.odd = family.odd, []
            for other, owner in shadowed:
                self._enter(other, owner)
        elif (subnet, network_id) in family.odd:
            family.odd.remove((subnet, network_id))

    def __len__(self) -> int:
        return sum(len(owned) for owned in self._owned.values())

    def go_on(self, after: Iterable[Subnet]) -> None:
        """Continue after the highest of these, in the last default pool that has any of them."""
        given = list(after)
        for number, pool in reversed(list(enumerate(self._pools))):
            inside = [one.last for one in given if one.bits == pool.bits and pool.contains(one.first)]
            if inside:
                self._next_pool, self._next = number, max(inside) + 1
                return

    def take(self, network_id: str) -> Subnet | None:
        """Give a network the next free subnet of the default pools. Returns None if there is none."""
        order = [*range(self._next_pool, len(self._pools)), *range(self._next_pool + 1)]
        for turn, number in enumerate(order):
            found = self._free_in(self._pools[number], self._next if turn == 0 else 0)
            if found is not None:
                self._next_pool, self._next = number, found.last + 1
                self.hold(found, network_id)
                return found
        return None

    def _free_in(self, pool: Subnet, start: int) -> Subnet | None:
        if self._size < pool.prefix or self._size > pool.bits:
            return None
        piece = 1 << (pool.bits - self._size)
        first = max(start, pool.first)
        first = -(-first // piece) * piece  # the next boundary
        family = self._families[pool.bits]
        while first + piece - 1 <= pool.last:
            taken = family.overlapping(first, first + piece - 1)
            if taken is None:
                return Subnet(first, self._size, pool.bits)
            first = -(-(taken[0].last + 1) // piece) * piece
        return None
