"""The addresses of one subnet: which are free, and which is given next.

Pure. The bitmap is made as it is needed: an unused /8 costs nothing, and the next free address is found in a few steps.
The next address is always a higher one, so a freed address is not reused before the others had their turn: other nodes
may still know its former owner. Source: SwarmKit's IPAM option `com.docker.network.ipam.serial`.
"""

from shoal.errors import InvariantBroken
from shoal.manager.allocator.addresses import V4, Subnet

_WORD = 1024  # bits; so a /16 has 64 words, and a step takes a fraction of a microsecond
_FULL = (1 << _WORD) - 1


class Pool:
    """The addresses of a subnet. `take` gives addresses from `within`; others must be asked for."""

    def __init__(self, subnet: Subnet, within: Subnet | None = None) -> None:
        self.subnet = subnet
        inner = within or subnet
        self._low = max(0, inner.first - subnet.first)
        self._high = min(subnet.size, inner.last - subnet.first + 1)
        self._words: dict[int, int] = {}
        self._holders: dict[int, int] = {}  # by offset, of addresses that are held and not reserved
        self._next = self._low
        self.free = self._high - self._low
        """How many addresses can be had by `take`."""
        # Nobody gets a network's own address and its broadcast address, as in libnetwork's ipam. IPv6 has no broadcast.
        if subnet.bits == V4 and subnet.size > 2:
            self._mark(0)
            self._mark(subnet.size - 1)
        elif subnet.bits != V4 and subnet.size > 2:
            self._mark(0)

    def is_free(self, address: int) -> bool:
        """Return whether an address of the subnet is free to be asked for."""
        return not self._is_marked(address - self.subnet.first)

    def reserve(self, address: int) -> None:
        """Reserve an address for good: a gateway, or an auxiliary address."""
        self._mark(address - self.subnet.first)

    def take(self) -> int | None:
        """Give the next free address to one holder. Returns None if there is none."""
        if self.free <= 0:
            return None
        offset = self._find(self._next, self._high)
        if offset is None:
            offset = self._find(self._low, self._next)
        if offset is None:
            raise InvariantBroken(f"{self.subnet} counts {self.free} free addresses and has none")
        self._mark(offset)
        self._holders[offset] = 1
        self._next = offset + 1
        return self.subnet.first + offset

    def keep(self, address: int) -> None:
        """Turn an address that `take` gave into a reserved one."""
        del self._holders[address - self.subnet.first]

    def hold(self, address: int) -> bool:
        """Add a holder to an address. Returns whether it is the only one."""
        offset = address - self.subnet.first
        held = self._holders.get(offset, 0)
        was_free = not self._is_marked(offset)
        self._holders[offset] = held + 1
        self._mark(offset)
        return was_free

    def release(self, address: int) -> bool:
        """Remove a holder. Returns whether the address is free now."""
        offset = address - self.subnet.first
        held = self._holders.get(offset, 0)
        if held == 0:
            raise InvariantBroken(f"an address of {self.subnet} was given back that nobody holds")
        if held > 1:
            self._holders[offset] = held - 1
            return False
        del self._holders[offset]
        self._clear(offset)
        return True

    def go_on(self) -> None:
        """Continue after the highest held address, because a new leader does not know what was freed last."""
        self._next = max(
            (offset + 1 for offset in self._holders if self._low <= offset < self._high), default=self._low
        )

    @property
    def held(self) -> int:
        """Return the number of addresses with a holder."""
        return len(self._holders)

    def _find(self, start: int, end: int) -> int | None:
        """Return the first free offset from `start` to before `end`."""
        word, bit = divmod(start, _WORD)
        while word * _WORD < end:
            open_bits = ~self._words.get(word, 0) & _FULL >> bit << bit
            if open_bits:
                found = word * _WORD + (open_bits & -open_bits).bit_length() - 1
                return found if found < end else None
            word, bit = word + 1, 0
        return None

    def _is_marked(self, offset: int) -> bool:
        return bool(self._words.get(offset // _WORD, 0) >> offset % _WORD & 1)

    def _mark(self, offset: int) -> None:
        word, bit = divmod(offset, _WORD)
        before = self._words.get(word, 0)
        after = before | 1 << bit
        if after != before:
            self._words[word] = after
            self.free -= self._low <= offset < self._high

    def _clear(self, offset: int) -> None:
        word, bit = divmod(offset, _WORD)
        left = self._words[word] & ~(1 << bit)
        if left:
            self._words[word] = left
        else:
            del self._words[word]
        self.free += self._low <= offset < self._high
