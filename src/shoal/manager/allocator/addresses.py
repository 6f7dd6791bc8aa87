"""Addresses and subnets as whole numbers, and their texts.

Pure. Python's `ipaddress` makes an object for each address. That is too slow for a leader that reads the addresses of
50,000 tasks, so it is only used for texts from users and for IPv6.
"""

import ipaddress
from dataclasses import dataclass

from shoal.errors import InvalidArgument

V4, V6 = 32, 128  # the address families, by the number of bits of an address


@dataclass(frozen=True, slots=True)
class Subnet:
    """A block of addresses: `first` to `last`."""

    first: int
    prefix: int
    bits: int

    @property
    def size(self) -> int:
        """Return the number of addresses."""
        return 1 << (self.bits - self.prefix)

    @property
    def last(self) -> int:
        """Return the last address."""
        return self.first + self.size - 1

    def contains(self, address: int) -> bool:
        """Return whether an address is in this subnet."""
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return f"{text_of(self.first, self.bits)}/{self.prefix}"


def parse_subnet(text: str) -> Subnet:
    """Return the subnet of a text like 10.0.1.0/24. The host's bits are set to 0. Raises InvalidArgument."""
    try:
        network = ipaddress.ip_interface(text).network
    except ValueError as error:
        raise InvalidArgument(f"{text} is no subnet") from error
    return Subnet(int(network.network_address), network.prefixlen, network.max_prefixlen)


def parse_address(text: str) -> tuple[int, int]:
    """Return an address as number and family, from a text with or without a prefix length. Raises InvalidArgument."""
    bare = text.partition("/")[0]
    parts = bare.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        a, b, c, d = map(int, parts)
        if max(a, b, c, d) < 256:
            return a << 24 | b << 16 | c << 8 | d, V4
    try:
        address = ipaddress.ip_address(bare)
    except ValueError as error:
        raise InvalidArgument(f"{text} is no address") from error
    return int(address), address.max_prefixlen


def text_of(address: int, bits: int) -> str:
    """Return an address as people write it."""
    if bits == V4:
        return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
    return str(ipaddress.IPv6Address(address))
