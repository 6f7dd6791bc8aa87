"""What is believed of others' events, and what is passed on. Checking and writing are one step (known fault 4).

Source of the rules and their order: libnetwork networkdb/delegate.go (gossip.md 2.5); where ours differ, it says so.
"""

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.own import LEAVE, Own
from shoal.network.networkdb.reaping import LEFT_NETWORK, TOMBSTONE
from shoal.network.networkdb.state import State
from shoal.network.networkdb.tables import Entry, Key

MOST_QUEUED_FOR_BULK = 500  # messages of a network; with more, what a bulk sync brought is not passed on
RELAYED_RESIDUAL = 300  # seconds that an unknown tombstone must have left to be passed on
# When a node returns, or lost entries here, so many of the others sync with it at once; what they learn they pass on.
SYNC_AT_ONCE = 3


class Events:
    """Events of nodes, networks and tables, taken into the state."""

    def __init__(self, state: State, own: Own) -> None:
        self._state = state
        self._own = own
        self.leaving = False  # this node has said that it leaves

    def node(self, event: pb.NodeEvent, message: bytes, now: float) -> None:
        """Take a NodeEvent."""
        state = self._state
        if not state.network_clock.witness(event.l_time, now):
            state.counts["times that nobody can have"] += 1
            return
        left = event.type == pb.NodeEvent.LEAVE
        if event.node_name == state.name:
            if left and not self.leaving and state.corrections.take(now):
                self._own.say_node(leaving=False)
            return
        node = state.members.get(event.node_name)
        if node is None or node.l_time >= event.l_time:
            return
        node.l_time = event.l_time
        if left and not node.left:
            state.members.said(node.name, True, now)
            state.purge_node(node.name, now)
            state.node_events.put(node.name, message)
        elif not left and node.left and node.alive:
            # It was said to have left, and contradicts. Docker waits until memberlist sees it return.
            state.members.said(node.name, False, now)
            state.node_events.put(node.name, message)

    def network(self, event: pb.NetworkEvent, message: bytes, now: float) -> None:
        """Take a NetworkEvent."""
        node, network = event.node_name, event.network_id
        if self.attachment(node, network, event.l_time, event.type == LEAVE, now):
            self._state.network_events.put((network, node), message)

    def attachment(self, node: str, network: str, l_time: int, leaving: bool, now: float) -> bool:
        """Take that a node is on a network, or has left it; False if that is not news."""
        state = self._state
        if not state.network_clock.witness(l_time, now):
            state.counts["times that nobody can have"] += 1
            return False
        if node == state.name:
            self._own.echoed_network(network, l_time, leaving, now)
            return False
        record = state.attachments.get(node, network)
        if record is None:
            if not state.members.is_active(node):
                return False
            if not state.attachments.room_for(node):
                state.counts["attachments beyond the limit"] += 1
                return False
        elif record.l_time >= l_time:
            return False
        if leaving:
            lost = state.purge(network, node)
            state.attachments.set(node, network, l_time, leaving=True, lost=lost)
            state.left_records.set((node, network), now + LEFT_NETWORK)
        else:
            state.attachments.set(node, network, l_time)
            state.left_records.drop((node, network))
            if state.on_network(network):
                state.rounds.appeared(network, now)
                if record is not None and record.lost:
                    self.sync_soon(network, node, now)
                for orphan, bulk in state.orphans.take(network, node):
                    self._replay(orphan, bulk, now)
        return True

    def _replay(self, message: bytes, bulk: bool, now: float) -> None:
        outer = messages.unwrap(message)
        event = messages.read_table_event(outer[1]) if outer is not None else None
        if event is not None:
            self.table(event, message, bulk, now)

    def sync_soon(self, network: str, node: str, now: float) -> None:
        """Sync with a node within seconds, or leave that to others: a few of all that are on the network do it."""
        state = self._state
        if state.rng.random() * state.nodes_on(network) < SYNC_AT_ONCE:
            state.rounds.soon(network, node, now + state.rng.uniform(0.5, 2.0))

    def table(self, event: pb.TableEvent, message: bytes, bulk: bool, now: float) -> None:
        """Take a TableEvent; `bulk`: a bulk sync brought it."""
        state = self._state
        network, owner = event.network_id, event.node_name
        if not state.table_clock.witness(event.l_time, now):
            state.counts["times that nobody can have"] += 1
            return
        if owner == state.name:
            self._own.echoed_entry(event, now)
            return
        if not state.on_network(network):
            return
        if not state.attachments.has(owner, network):
            state.orphans.keep(network, owner, message, bulk, now)
            return
        key = Key(event.table_name, event.key)
        stored = state.tables.get(network, key)
        if stored is not None and not _is_newer(event, stored):
            return
        if stored is not None and stored.owner == state.name and not stored.deleting:
            self._own.reassert(network, key, stored, now)
            return
        self._store(event, message, key, stored, bulk, now)

    def _store(
        self, event: pb.TableEvent, message: bytes, key: Key, stored: Entry | None, bulk: bool, now: float
    ) -> None:
        state = self._state
        network = event.network_id
        value = event.value
        deleting = event.type == messages.DELETE
        if not (deleting and stored is not None) and not state.tables.room_for(
            network, value, known=stored is not None
        ):
            state.counts["entries beyond the limit"] += 1
            return
        entry = Entry(event.node_name, event.l_time, value, deleting=deleting, kind=event.type)
        residual = event.residual_reap_time
        if deleting:
            # What is left of its time, not all of it anew (known fault 8); 0 is from versions that do not tell.
            entry.reap_at = now + (min(residual, TOMBSTONE) if residual > 0 else TOMBSTONE)
        elif event.type == messages.CREATE and len(message) <= len(value) + 4 * messages.MOST_NAME:
            entry.wire = message
        state.store(network, key, entry)
        # A DELETE of what nobody here knew is kept, lest the late CREATE bring it back (known fault 3), but passed on
        # only where others may have missed it.
        if deleting and stored is None and not (bulk and residual > RELAYED_RESIDUAL):
            return
        queue = state.queues[network]
        if state.rounds.in_sync(network) and not (bulk and len(queue) > MOST_QUEUED_FOR_BULK):
            queue.put(key, message, own=False)
        else:
            queue.discard(key)  # an older event about it would only be dropped by all who know better


def _is_newer(event: pb.TableEvent, stored: Entry) -> bool:
    if event.l_time != stored.l_time:
        return event.l_time > stored.l_time
    # Of one time: no owner gives a DELETE the time of its CREATE. Docker's old versions do it in another's name when
    # that leaves the network, and a peer that took such a tombstone could not get the entry again (known fault 2).
    return stored.deleting and event.type != messages.DELETE and event.node_name == stored.owner
