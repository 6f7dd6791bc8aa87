"""Messages to and from the kernel's connection tracking (ctnetlink), as bytes: flows to a virtual IP.

Layouts and numbers: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h. Filters need Linux 5.8; an older kernel refuses
these messages, since each names a tuple that is not whole.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from shoal.network.balancing.rules import Flows
from shoal.network.rtnetlink import ACK, AF_INET, AF_INET6, DUMP, Address, Reply, Request, attribute, attributes
from shoal.network.wanted import Protocol

_NEW, _GET, _DELETE, _STATISTICS = (1 << 8) | 0, (1 << 8) | 1, (1 << 8) | 2, (1 << 8) | 5
_ENTRIES = 1
_HEADER = struct.Struct("=BBH")
_VERSION = 1  # the family counts
_NESTED = 0x8000
_ORIGINAL, _REPLY, _MARK, _MARK_MASK, _FILTER = 1, 2, 8, 21, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_PROTOCOL_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_SOURCE, _BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 0, 1 << 1, 1 << 3, 1 << 5
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
# Of an address in a tuple: source and destination, by IP version.
_SOURCE, _DESTINATION = {4: 1, 6: 3}, {4: 2, 6: 4}


def _tuple(kind: int, which: dict[int, int], address: Address) -> bytes:
    ip = attribute(_TUPLE_IP | _NESTED, attribute(which[address.version], address.packed))
    return attribute(kind | _NESTED, ip)


def _body(flows: Flows) -> bytes:
    virtual, backend = flows.virtual, flows.backend
    body = _HEADER.pack(AF_INET if virtual.version == 4 else AF_INET6, _VERSION, 0)
    body += _tuple(_ORIGINAL, _DESTINATION, virtual)
    chosen = attribute(_FILTER_ORIGINAL, struct.pack("=I", _BY_DESTINATION))
    if backend is not None:
        body += _tuple(_REPLY, _SOURCE, backend)
        chosen += attribute(_FILTER_REPLY, struct.pack("=I", _BY_SOURCE))
    return body + attribute(_FILTER | _NESTED, chosen)


def delete(flows: Flows) -> Request:
    """End all flows to a virtual IP that a backend answers: the kernel forgets where they lead."""
    return Request(_DELETE, ACK, _body(flows))


def delete_answered(backend: Address) -> Request:
    """End all flows that an address answers, whatever they were to."""
    body = _HEADER.pack(AF_INET if backend.version == 4 else AF_INET6, _VERSION, 0)
    body += _tuple(_REPLY, _SOURCE, backend)
    chosen = attribute(_FILTER_REPLY, struct.pack("=I", _BY_SOURCE))
    return Request(_DELETE, ACK, body + attribute(_FILTER | _NESTED, chosen))


def delete_port(protocol: Protocol, address: Address, port: int) -> Request:
    """End all flows that were begun to a port of an address."""
    body = _HEADER.pack(AF_INET if address.version == 4 else AF_INET6, _VERSION, 0)
    ip = attribute(_TUPLE_IP | _NESTED, attribute(_DESTINATION[address.version], address.packed))
    transport = attribute(_PROTOCOL_NUMBER, bytes([_NUMBERS[protocol]]))
    transport += attribute(_DESTINATION_PORT, port.to_bytes(2, "big"))
    body += attribute(_ORIGINAL | _NESTED, ip + attribute(_TUPLE_PROTOCOL | _NESTED, transport))
    by = struct.pack("=I", _BY_DESTINATION | _BY_PROTOCOL | _BY_DESTINATION_PORT)
    return Request(_DELETE, ACK, body + attribute(_FILTER | _NESTED, attribute(_FILTER_ORIGINAL, by)))


def get_count() -> Request:
    """Ask how many flows the namespace has. Any list costs the kernel a walk through the whole host's table."""
    return Request(_STATISTICS, ACK, _HEADER.pack(0, 0, 0))


def count(replies: Iterable[Reply]) -> int:
    """Read the answer; 0 where there is none."""
    for reply in replies:
        if reply.type == _STATISTICS:
            return int.from_bytes(attributes(reply.body[_HEADER.size :]).get(_ENTRIES, b""), "big")
    return 0


def list_every() -> Request:
    """Ask for all flows."""
    return Request(_GET, DUMP, _HEADER.pack(0, 0, 0))


def ends(replies: Iterable[Reply]) -> set[tuple[Address, Address]]:
    """Read the answers to `list_every`: to whom a flow was begun, and who answers it."""
    found = set()
    for reply in replies:
        if reply.type == _NEW:
            flow = attributes(reply.body[_HEADER.size :])
            to = _address(flow.get(_ORIGINAL, b""), _DESTINATION)
            answers = _address(flow.get(_REPLY, b""), _SOURCE)
            if to is not None and answers is not None:
                found.add((to, answers))
    return found


def list_all(virtual: Address) -> Request:
    """Ask for all flows to a virtual IP."""
    return Request(_GET, DUMP, _body(Flows(virtual, None)))


def list_marked(mark: int, mask: int) -> Request:
    """Ask for all flows of IPv4 with a mark, as far as the mask counts."""
    body = _HEADER.pack(AF_INET, _VERSION, 0)
    body += attribute(_MARK, mark.to_bytes(4, "big")) + attribute(_MARK_MASK, mask.to_bytes(4, "big"))
    return Request(_GET, DUMP, body)


def answering(replies: Iterable[Reply]) -> set[Address]:
    """Read the answers to `list_all` and `list_marked`: who answers."""
    return set(_sources(replies))


def tally(replies: Iterable[Reply]) -> Counter[Address]:
    """Read the answers to `list_all`: how many flows each answers."""
    return Counter(_sources(replies))


def _sources(replies: Iterable[Reply]) -> Iterator[Address]:
    for reply in replies:
        if reply.type == _NEW:
            flow = attributes(reply.body[_HEADER.size :])
            if (address := _address(flow.get(_REPLY, b""), _SOURCE)) is not None:
                yield address


def _address(tuple_: bytes, which: dict[int, int]) -> Address | None:
    ip = attributes(attributes(tuple_).get(_TUPLE_IP, b""))
    if packed := ip.get(which[4]):
        return IPv4Address(packed)
    packed = ip.get(which[6], b"")
    return IPv6Address(packed) if packed else None
