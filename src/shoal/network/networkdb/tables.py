"""The entries of all tables of the networks that this node is on. Storing, finding and removing one costs the same
however many there are; all of one owner on a network are found without looking at the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.reaping import NEARLY_OVER, Deadlines

# Entries of others; beyond, new ones are refused. This node's own are never refused.
MOST_ENTRIES = 100_000  # of a network; a /16, twice over in each of two tables, would be fewer
MOST_BYTES = 64 * 1024 * 1024  # of all networks' keys, values and the rest
_OVERHEAD = 500  # bytes that an entry takes beside its key and value, roughly


class Key(NamedTuple):
    """Names an entry of a network."""

    table: str
    key: str


@dataclass(slots=True)
class Entry:
    """A value, or the tombstone of one."""

    owner: str
    l_time: int
    value: bytes
    deleting: bool = False
    reap_at: float = 0.0  # of a tombstone
    kind: "pb.TableEvent.Type" = messages.CREATE  # how it was said
    wire: bytes | None = None  # the event that says a live one, once it was needed


class Tables:
    """Entries by network and key."""

    def __init__(self) -> None:
        self._networks: dict[str, dict[Key, Entry]] = {}
        self._owned: dict[tuple[str, str], dict[Key, None]] = {}  # by network and owner
        self._tombstones: Deadlines[tuple[str, Key]] = Deadlines()
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def tombstones(self) -> int:
        """How many entries are tombstones."""
        return len(self._tombstones)

    def get(self, network: str, key: Key) -> Entry | None:
        """Return an entry, which may be a tombstone."""
        entries = self._networks.get(network)
        return entries.get(key) if entries is not None else None

    def of(self, network: str) -> Iterator[tuple[Key, Entry]]:
        """Return all entries of a network."""
        return iter(self._networks.get(network, {}).items())

    def size(self, network: str) -> int:
        """Return how many entries a network has."""
        return len(self._networks.get(network, ()))

    def owned(self, network: str, owner: str) -> list[Key]:
        """Return the keys of one node's entries on a network."""
        return list(self._owned.get((network, owner), ()))

    def room_for(self, network: str, value: bytes, known: bool = False) -> bool:
        """Whether somebody else's entry may be written; `known`: in the place of another."""
        return (known or self.size(network) < MOST_ENTRIES) and self.bytes + _size(value) <= MOST_BYTES

    def store(self, network: str, key: Key, entry: Entry) -> None:
        """Write an entry in the place of what is there."""
        self.remove(network, key)
        self._networks.setdefault(network, {})[key] = entry
        self._owned.setdefault((network, entry.owner), {})[key] = None
        if entry.deleting:
            self._tombstones.set((network, key), entry.reap_at - NEARLY_OVER)
        self._count += 1
        self.bytes += _size(entry.value)

    def remove(self, network: str, key: Key) -> None:
        """Remove an entry, if it is there."""
        entries = self._networks.get(network)
        entry = entries.pop(key, None) if entries is not None else None
        if entries is None or entry is None:
            return
        if not entries:
            del self._networks[network]
        owned = self._owned[network, entry.owner]
        del owned[key]
        if not owned:
            del self._owned[network, entry.owner]
        if entry.deleting:
            self._tombstones.drop((network, key))
        self._count -= 1
        self.bytes -= _size(entry.value)

    def reap(self, now: float) -> list[tuple[str, Key]]:
        """Remove the tombstones whose time has come, and say which."""
        over = self._tombstones.due(now)
        for network, key in over:
            self.remove(network, key)
        return over


def _size(value: bytes) -> int:
    return 2 * len(value) + _OVERHEAD  # the value itself, and once more in the event that says it


def say(network: str, key: Key, entry: Entry, now: float) -> bytes:
    """Return the event that says an entry to others: a live one as CREATE, a tombstone with the rest of its time."""
    if entry.deleting:
        residual = max(1, int(entry.reap_at - now))
        return messages.table_event(
            messages.DELETE, entry.l_time, entry.owner, network, *key, value=entry.value, residual=residual
        )
    if entry.wire is None:
        entry.wire = messages.table_event(messages.CREATE, entry.l_time, entry.owner, network, *key, value=entry.value)
    return entry.wire
