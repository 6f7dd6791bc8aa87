"""What a node knows, and the two steps that several rules share: what is shown of an entry, and forgetting a node's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.allowance import Allowance
from shoal.network.networkdb.attachments import Attachments
from shoal.network.networkdb.bulk_sync import Rounds
from shoal.network.networkdb.changes import Changes, Shown
from shoal.network.networkdb.clock import Clock
from shoal.network.networkdb.members import Members
from shoal.network.networkdb.orphans import Orphans
from shoal.network.networkdb.queues import Queue, TableQueue
from shoal.network.networkdb.reaping import Deadlines
from shoal.network.networkdb.tables import Entry, Key, Tables
from shoal.network.networkdb.telling import Telling

if TYPE_CHECKING:
    from random import Random

    from shoal.network.records import End

# What others say wrongly about this node is put right so often. More is forged, and would make us gossip without end.
CORRECTIONS_PER_SECOND = 20.0
CORRECTIONS_AT_ONCE = 200
MOST_NODE_EVENTS = 1024  # queued


class State:
    """All of it. `name` is this node's in gossip."""

    def __init__(self, name: str, rng: Random) -> None:
        self.name = name
        self.rng = rng
        self.network_clock = Clock()
        self.table_clock = Clock()
        self.members = Members()
        self.attachments = Attachments()
        self.tables = Tables()
        self.changes = Changes()
        self.queues: dict[str, TableQueue] = {}  # of the networks that this node is on
        self.own_events = Queue()  # of this node and its networks: they go before others'
        self.network_events = Queue()  # as many as there are attachments
        self.node_events = Queue(MOST_NODE_EVENTS)
        self.rounds = Rounds(rng)
        self.telling = Telling(self._own_join)
        self.left_records: Deadlines[tuple[str, str]] = Deadlines()  # node and network
        self.hidden: Deadlines[str] = Deadlines()  # failed nodes whose entries are kept
        self.orphans = Orphans()
        self.corrections = Allowance(CORRECTIONS_PER_SECOND, CORRECTIONS_AT_ONCE)
        self.counts: Counter[str] = Counter()  # what was refused, and why; what was mended

    def on_network(self, network: str) -> bool:
        """Whether this node is on a network."""
        return network in self.queues

    def _own_join(self, network: str) -> bytes:
        """Return the message that this node is on a network, with the time that it has."""
        attachment = self.attachments.get(self.name, network)
        l_time = attachment.l_time if attachment is not None else 0
        return messages.network_event(pb.NetworkEvent.JOIN, l_time, self.name, network)

    def others_on(self, network: str) -> list[str]:
        """Return the other nodes that are here, and on a network."""
        return [name for name in self.attachments.on(network) if name != self.name and self.is_on(name, network)]

    def is_on(self, node: str, network: str) -> bool:
        """Whether a node is here, and on a network."""
        return self.members.is_active(node) and self.attachments.has(node, network)

    def show(self, network: str, key: Key) -> Shown | None:
        """Return owner and value of an entry as consumers are to see it; None: not at all.

        A failed node's entries are kept, but hidden until it returns (known fault 1).
        """
        entry = self.tables.get(network, key)
        if entry is None or entry.deleting or network not in self.queues:
            return None
        if entry.owner != self.name and not self.is_on(entry.owner, network):
            return None
        return entry.owner, entry.value

    def mark(self, network: str, key: Key, end: End = "deleted") -> None:
        """Note that what is shown of a key may be another now; `end`: why, if nothing is."""
        self.changes.mark(network, key, self.show(network, key) is not None, end)

    def mark_all_of(self, node: str, end: End = "deleted") -> None:
        """Note that all that is shown of a node may be other now; `end`: why, if nothing is."""
        for network in self.attachments.of(node):
            for key in self.tables.owned(network, node):
                self.mark(network, key, end if self._alive(network, key) else "deleted")

    def store(self, network: str, key: Key, entry: Entry) -> None:
        """Write an entry."""
        self.tables.store(network, key, entry)
        self.mark(network, key)

    def purge(self, network: str, node: str, end: End = "deleted") -> bool:
        """Remove a node's entries of a network, tombstones too. Returns whether live ones were among them."""
        live = False
        for key in self.tables.owned(network, node):
            alive = self._alive(network, key)
            live = live or alive
            self.tables.remove(network, key)
            self.mark(network, key, end if alive else "deleted")
            if network in self.queues:
                self.queues[network].discard(key)
        return live

    def _alive(self, network: str, key: Key) -> bool:
        entry = self.tables.get(network, key)
        return entry is not None and not entry.deleting

    def purge_node(self, node: str, now: float, end: End = "deleted") -> None:
        """Remove all that a node wrote, and on which networks it is."""
        self.hidden.drop(node)
        self.rounds.gone(node, now)
        for network in list(self.attachments.of(node)):
            self.purge(network, node, end)
            self.attachments.remove(node, network)
            self.left_records.drop((node, network))
            self.network_events.discard((network, node))

    def nodes_on(self, network: str) -> int:
        """Return how many nodes are on a network, this one included."""
        return len(self.attachments.on(network))
