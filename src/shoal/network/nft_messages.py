"""Messages to and from the kernel's nftables, as bytes: which tables somebody changed, how often, how much there is,
and keys of sets.

Pure. A container may have put anything into its namespace: what is read is counted and compared, and never believed.
Layouts and numbers: linux/netfilter/nfnetlink.h, nf_tables.h. What is in a table of ours is libnftables' matter
(`network/kernel/nftables.py`).
"""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from shoal.network.rtnetlink import ACK, AF_INET, DUMP, Address, Reply, Request, attribute, attributes

GROUP = 7  # NFNLGRP_NFTABLES: whoever has joined it is told of each change
_SUBSYSTEM = 10
_NEW_TABLE, _GET_TABLE, _NEW_CHAIN, _GET_CHAIN, _NEW_ELEMENTS, _GET_ELEMENTS, _NEW_GENERATION, _GET_GENERATION = (
    (_SUBSYSTEM << 8) | number for number in (0, 1, 3, 4, 12, 13, 15, 16)
)
_HEADER = struct.Struct(">BBH")  # family, version, resource
_ANY, _INET = 0, 1
# In messages of tables, chains, rules, sets and elements alike: the table's name.
_TABLE = 1
_TABLE_USE = 3
_CHAIN_NAME = 3
# linux/netfilter.h: nft's words for its families.
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_SET, _ELEMENTS = 2, 3
_ELEMENT_KEY, _DATA_VALUE = 1, 1
_GENERATION_ID = 1


def get_table(name: str, family: int = AF_INET) -> Request:
    """Ask for a table, of IPv4 unless said. OSError with ENOENT is the answer where there is none."""
    return Request(_GET_TABLE, ACK, _HEADER.pack(family, 0, 0) + attribute(_TABLE, name.encode() + b"\0"))


def changed_tables(replies: Iterable[Reply]) -> set[str]:
    """Return the names of the tables, of whichever family, that notices are about."""
    found = set()
    for reply in replies:
        if reply.type >> 8 == _SUBSYSTEM:
            name = attributes(reply.body[_HEADER.size :]).get(_TABLE, b"").rstrip(b"\0")
            if name:
                found.add(name.decode(errors="replace"))
    return found


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


def tables(replies: Iterable[Reply]) -> set[tuple[str, str]]:
    """Return family and name of each table."""
    return {(family, table) for family, table, _ in _named(replies, _NEW_TABLE)}


def list_chains() -> Request:
    """Ask for all chains of the namespace."""
    return Request(_GET_CHAIN, DUMP, _HEADER.pack(_ANY, 0, 0))


def chains(replies: Iterable[Reply]) -> set[tuple[str, str, str]]:
    """Return family, table and name of each chain."""
    return {(family, table, name) for family, table, name in _named(replies, _NEW_CHAIN) if name}


def _named(replies: Iterable[Reply], kind: int) -> Iterator[tuple[str, str, str]]:
    for reply in replies:
        if reply.type == kind and len(reply.body) >= _HEADER.size:
            found = attributes(reply.body[_HEADER.size :])
            table, name = (found.get(one, b"").rstrip(b"\0").decode(errors="replace") for one in (_TABLE, _CHAIN_NAME))
            yield _FAMILIES.get(reply.body[0], ""), table, name


def objects(replies: Iterable[Reply]) -> int:
    """Return how many tables there are, and chains, sets and other things in them."""
    count = 0
    for reply in replies:
        if reply.type == _NEW_TABLE:
            count += 1 + int.from_bytes(attributes(reply.body[_HEADER.size :]).get(_TABLE_USE, b""), "big")
    return count


def list_elements(table: str, name: str) -> Request:
    """Ask for the elements of a set or map of a table of the family inet."""
    body = _HEADER.pack(_INET, 0, 0) + attribute(_TABLE, table.encode() + b"\0")
    return Request(_GET_ELEMENTS, DUMP, body + attribute(_SET, name.encode() + b"\0"))


def addresses(replies: Iterable[Reply]) -> Iterator[Address]:
    """Read the keys that are addresses."""
    for reply in replies:
        if reply.type != _NEW_ELEMENTS:
            continue
        for element in _each(attributes(reply.body[_HEADER.size :]).get(_ELEMENTS, b"")):
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
