"""Who has which port of this host, and which number is tried where any will do. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from shoal.network.types import HostPort
from shoal.network.wanted import Protocol

# moby daemon/libnetwork/portallocator: what it takes where the kernel does not say.
DEFAULT_RANGE = (49153, 65535)
# Each is looked for with a system call or two. A host whose ports are taken for so long a stretch has other troubles.
MOST_TRIES = 512

Published = tuple[Protocol, int]


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a port of the host leads."""

    container: str
    address: IPv4Address
    target: int


Leads = Mapping[Published, Lead]


def leads(container: str, address: IPv4Address, ports: Collection[HostPort]) -> dict[Published, Lead]:
    """Return where the ports that a container was given lead."""
    return {(port.protocol, port.published): Lead(container, address, port.target) for port in ports}


def without(known: Leads, container: str) -> dict[Published, Lead]:
    """Return them without those of a container."""
    return {port: lead for port, lead in known.items() if lead.container != container}


def local_range(text: str) -> tuple[int, int]:
    """Return the kernel's range of local ports, by its file ip_local_port_range."""
    words = text.split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        first, last = int(words[0]), int(words[1])
        if 0 < first <= last <= 65535:
            return first, last
    return DEFAULT_RANGE


def reserved(text: str) -> frozenset[int]:
    """Return the ports that the host's owner keeps for programs, by the kernel's file ip_local_reserved_ports."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), min(int(last or first), 65535) + 1))
    return frozenset(found)


def candidates(within: tuple[int, int], last: int, kept: Collection[int]) -> Iterator[int]:
    """Yield the numbers to try where any will do: what follows the last one, so that one just freed rests."""
    low, high = within
    count = high - low + 1
    start = last + 1 - low if low <= last <= high else 0
    tries = 0
    for step in range(count):
        number = low + (start + step) % count
        if number in kept:
            continue
        yield number
        tries += 1
        if tries == MOST_TRIES:
            return
