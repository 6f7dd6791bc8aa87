"""Messages to and from the kernel's connection tracking (ctnetlink), as bytes; which flows are to end. Pure.

Layouts and numbers: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h. A flow is ended by its whole original tuple and
its number, so that it is this one and no other. The kernel's filters (Linux 5.8) only make lists shorter: what they let
through is looked at here. Of IPv6 they are not used: kernels take an address there for its opposite, and others ignore
parts of the filter.
"""

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from shoal.network.rtnetlink import ACK, AF_INET, AF_INET6, DUMP, Address, Reply, Request, attribute, attributes
from shoal.network.wanted import Protocol

_NEW, _GET, _DELETE, _STATISTICS = (1 << 8) | 0, (1 << 8) | 1, (1 << 8) | 2, (1 << 8) | 5
_ENTRIES = 1
_HEADER = struct.Struct("=BBH")
_VERSION = 1  # the family counts
_NESTED = 0x8000
_ORIGINAL, _REPLY, _MARK, _ID, _ZONE, _MARK_MASK, _FILTER = 1, 2, 8, 12, 18, 21, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_PROTOCOL_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_SOURCE, _BY_DESTINATION = 1 << 0, 1 << 1
_NAMES: Mapping[int, Protocol] = {6: "tcp", 17: "udp", 132: "sctp"}
# Of an address in a tuple: source and destination, by IP version.
_SOURCE, _DESTINATION = {4: 1, 6: 3}, {4: 2, 6: 4}
# Filtered lists of so many addresses; for more, one of all flows costs less. Each is a walk through the host's table.
FEW = 8


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection: to whom it was begun, who answers it, and how the kernel is told of it."""

    to: Address
    answers: Address
    protocol: int
    port: int  # to which it was begun; 0 where the protocol has none
    family: int
    names: bytes = field(repr=False)  # its original tuple, number and zone, as attributes


def flow(reply: Reply) -> Flow | None:
    """Read one of a list; None where it is none."""
    if reply.type != _NEW:
        return None
    given = attributes(reply.body[_HEADER.size :])
    original = given.get(_ORIGINAL, b"")
    to, answers = _address(original, _DESTINATION), _address(given.get(_REPLY, b""), _SOURCE)
    if to is None or answers is None:
        return None
    transport = attributes(attributes(original).get(_TUPLE_PROTOCOL, b""))
    names = attribute(_ORIGINAL | _NESTED, original)
    names += b"".join(attribute(kind, given[kind]) for kind in (_ID, _ZONE) if kind in given)
    return Flow(
        to,
        answers,
        int.from_bytes(transport.get(_PROTOCOL_NUMBER, b""), "big"),
        int.from_bytes(transport.get(_DESTINATION_PORT, b""), "big"),
        reply.body[0],
        names,
    )


def delete(flow: Flow) -> Request:
    """End a flow: the kernel forgets where it leads."""
    return Request(_DELETE, ACK, _HEADER.pack(flow.family, _VERSION, 0) + flow.names)


@dataclass(frozen=True)
class Endings:
    """Which flows are to end: all that one of these names."""

    to: Mapping[Address, Collection[Address] | None] = field(default_factory=dict)
    """To an address, of those whom one of these answers. None: whoever answers."""
    answered: Collection[Address] = frozenset()
    """That one of these answers, whatever they were to."""
    begun: Collection[tuple[Protocol, Address, int]] = frozenset()
    """To a port of an address."""

    def __bool__(self) -> bool:
        return bool(self.to or self.answered or self.begun)

    def lists(self) -> list[Request]:
        """Return the lists in which these flows are."""
        targets = {*self.to, *(address for _, address, _ in self.begun)}
        whole = {6} & {one.version for one in (*targets, *self.answered)}
        four = [one for one in targets if one.version == 4]
        answered = [one for one in self.answered if one.version == 4]
        if len(four) + len(answered) > FEW:
            whole.add(4)
            four = answered = []
        every = [list_every(whole.pop() if len(whole) == 1 else 0)] if whole else []
        return [
            *(_filtered(_ORIGINAL, _DESTINATION, one, _FILTER_ORIGINAL, _BY_DESTINATION) for one in four),
            *(_filtered(_REPLY, _SOURCE, one, _FILTER_REPLY, _BY_SOURCE) for one in answered),
            *every,
        ]

    def names(self, flow: Flow) -> bool:
        """Return whether a flow is one of these."""
        if flow.answers in self.answered:
            return True
        if flow.to in self.to:
            answering = self.to[flow.to]
            if answering is None or flow.answers in answering:
                return True
        return (_NAMES.get(flow.protocol), flow.to, flow.port) in self.begun


def _filtered(kind: int, which: dict[int, int], address: Address, part: int, by: int) -> Request:
    """Ask for the flows of IPv4 in whose tuple of this kind an address is."""
    ip = attribute(_TUPLE_IP | _NESTED, attribute(which[4], address.packed))
    body = _HEADER.pack(AF_INET, _VERSION, 0) + attribute(kind | _NESTED, ip)
    chosen = attribute(part, struct.pack("=I", by))
    return Request(_GET, DUMP, body + attribute(_FILTER | _NESTED, chosen))


def get_count() -> Request:
    """Ask how many flows the namespace has. Any list costs the kernel a walk through the whole host's table."""
    return Request(_STATISTICS, ACK, _HEADER.pack(0, 0, 0))


def count(replies: Iterable[Reply]) -> int:
    """Read the answer; 0 where there is none."""
    for reply in replies:
        if reply.type == _STATISTICS:
            return int.from_bytes(attributes(reply.body[_HEADER.size :]).get(_ENTRIES, b""), "big")
    return 0


def list_every(version: int = 0) -> Request:
    """Ask for all flows, of one IP version or of both."""
    family = {0: 0, 4: AF_INET, 6: AF_INET6}[version]
    return Request(_GET, DUMP, _HEADER.pack(family, 0, 0))


def list_all(virtual: Address) -> Request:
    """Ask for all flows to a virtual IP; others may be among them."""
    return Endings({virtual: None}).lists()[0]


def list_marked(mark: int, mask: int) -> Request:
    """Ask for all flows of IPv4 with a mark, as far as the mask counts."""
    body = _HEADER.pack(AF_INET, _VERSION, 0)
    body += attribute(_MARK, mark.to_bytes(4, "big")) + attribute(_MARK_MASK, mask.to_bytes(4, "big"))
    return Request(_GET, DUMP, body)


def answering(replies: Iterable[Reply]) -> set[Address]:
    """Read the answers to `list_marked`: who answers."""
    return {found.answers for found in map(flow, replies) if found is not None}


def tally(replies: Iterable[Reply], virtual: Address) -> Counter[Address]:
    """Read the answers to `list_all`: how many flows to a virtual IP each answers."""
    return Counter(found.answers for found in map(flow, replies) if found is not None and found.to == virtual)


def _address(tuple_: bytes, which: dict[int, int]) -> Address | None:
    ip = attributes(attributes(tuple_).get(_TUPLE_IP, b""))
    if packed := ip.get(which[4]):
        return IPv4Address(packed)
    packed = ip.get(which[6], b"")
    return IPv6Address(packed) if packed else None
