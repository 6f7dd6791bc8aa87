"""Who a program was in gossip, for the program that takes its place: then it is the same node to all others. Pure.

Without it the successor is a new node at the address of an old one: the others forget what the old one wrote, and for
a moment do not know what the new one has. Own entries go over whole, as somebody may tell of them before they are
written anew, and what one does not have, one says is gone. What others wrote is in a file (`memory`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.errors import InvalidArgument
from shoal.network.process.entries import Entries, Key
from shoal.network.wanted import plain, read

VALUE = "gossip"  # its name among the values that are left
# Members that the successor calls at once, for all others; the managers are called anyway.
MOST_KNOWN = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member is."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An own entry. `used` is the key under which it is in the table, `key` the one that it would have."""

    container: str
    table: str
    network: str
    key: str
    used: str
    value: str  # hex digits


@dataclass(frozen=True, slots=True)
class Former:
    """A node in gossip."""

    name: str
    bind: str
    advertise: str
    network_time: int
    table_time: int
    known: tuple[Place, ...] = ()
    joined: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def values_of(former: Former) -> dict[str, Any]:
    """Return what is left to the successor."""
    return {VALUE: plain(former)}


def former_of(left: Mapping[str, Any]) -> Former | None:
    """Return who the former program was; None where it said nothing that makes sense: another version, perhaps."""
    try:
        found = read(Former, left[VALUE], VALUE)
        if not isinstance(found, Former):
            return None
        for entry in found.entries:
            bytes.fromhex(entry.value)
    except (KeyError, ValueError, InvalidArgument):
        return None
    return found


def entries_of(written: Mapping[str, Entries], keys: Mapping[Key, str]) -> tuple[Entry, ...]:
    """Return the entries of all containers. `keys` are those that are in the tables under another key."""
    return tuple(
        Entry(container, *key, keys.get(key, key[2]), value.hex())
        for container, of_it in written.items()
        for key, value in of_it.items()
    )


def written_by(entries: Sequence[Entry]) -> dict[str, dict[Key, bytes]]:
    """Return them by container again."""
    found: dict[str, dict[Key, bytes]] = {}
    for entry in entries:
        found.setdefault(entry.container, {})[entry.table, entry.network, entry.key] = bytes.fromhex(entry.value)
    return found
