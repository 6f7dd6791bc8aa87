"""Questions to nf_tables about the rules of a namespace, as bytes: how often they changed, how much there is, and keys.

Pure. A container may have put anything there: what is read is counted and compared, and never believed. Layouts and
numbers: linux/netfilter/nfnetlink.h, nf_tables.h.
"""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from shoal.network.rtnetlink import ACK, DUMP, Address, Reply, Request, attribute, attributes

_SUBSYSTEM = 10 << 8
_NEW_TABLE, _GET_TABLE, _NEW_ELEMENTS, _GET_ELEMENTS, _NEW_GENERATION, _GET_GENERATION = (
    _SUBSYSTEM | number for number in (0, 1, 12, 13, 15, 16)
)
_HEADER = struct.Struct(">BBH")  # family, version, resource
_ANY, _INET = 0, 1
_TABLE_USE = 3
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _DATA_VALUE = 1, 1
_GENERATION_ID = 1


def get_generation() -> Request:
    """Ask how often the rules of the namespace were changed."""
    return Request(_GET_GENERATION, ACK, _HEADER.pack(_ANY, 0, 0))


def generation(replies: Iterable[Reply]) -> int:
    """Read the answer; 0 where there is none."""
    for reply in replies:
        if reply.type == _NEW_GENERATION and (value := attributes(reply.body[_HEADER.size :]).get(_GENERATION_ID)):
            return int.from_bytes(value, "big")
    return 0


def list_tables() -> Request:
    """Ask for all tables of the namespace."""
    return Request(_GET_TABLE, DUMP, _HEADER.pack(_ANY, 0, 0))


def objects(replies: Iterable[Reply]) -> int:
    """Return how many tables there are, and chains, sets and other things in them."""
    count = 0
    for reply in replies:
        if reply.type == _NEW_TABLE:
            count += 1 + int.from_bytes(attributes(reply.body[_HEADER.size :]).get(_TABLE_USE, b""), "big")
    return count


def list_elements(table: str, name: str) -> Request:
    """Ask for the elements of a set or map of a table of the family inet."""
    body = _HEADER.pack(_INET, 0, 0) + attribute(_LIST_TABLE, table.encode() + b"\0")
    return Request(_GET_ELEMENTS, DUMP, body + attribute(_LIST_SET, name.encode() + b"\0"))


def addresses(replies: Iterable[Reply]) -> Iterator[Address]:
    """Read the keys that are addresses."""
    for reply in replies:
        if reply.type != _NEW_ELEMENTS:
            continue
        for element in _each(attributes(reply.body[_HEADER.size :]).get(_LIST_ELEMENTS, b"")):
            packed = attributes(attributes(element).get(_ELEMENT_KEY, b"")).get(_DATA_VALUE, b"")
            if len(packed) == 4:
                yield IPv4Address(packed)
            elif len(packed) == 16:
                yield IPv6Address(packed)


def _each(body: bytes) -> Iterator[bytes]:
    """Yield the values of attributes of one kind after another."""
    at = 0
    while at + 4 <= len(body):
        length = int.from_bytes(body[at : at + 2], "little")
        if length < 4:
            return
        yield body[at + 4 : at + length]
        at += (length + 3) & ~3
