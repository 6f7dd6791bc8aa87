"""What this node writes: its networks, its entries, and corrections of what others say about them.

Nobody else may write them. What is wrong with a peer is said again with a later time, which all take.
"""

from shoal.api.gen import networkdb_pb2 as pb
from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.network.networkdb import messages
from shoal.network.networkdb.queues import TableQueue
from shoal.network.networkdb.reaping import LEFT_NETWORK, TOMBSTONE
from shoal.network.networkdb.state import State
from shoal.network.networkdb.tables import Entry, Key, say
from shoal.network.records import ENDPOINTS, PEERS, EndpointRecord

JOIN, LEAVE = pb.NetworkEvent.JOIN, pb.NetworkEvent.LEAVE


class Own:
    """Changes of this node's own part of the state, each with what is to be gossiped of it."""

    def __init__(self, state: State) -> None:
        self._state = state

    # -- networks -----------------------------------------------------------------------------------------------------

    def join_network(self, network: str, now: float) -> None:
        """Take part in a network. Again: nothing, and nothing that waits to be sent is lost (known fault 7)."""
        if not messages.fits(network):
            raise InvalidArgument(f"no network is called {network!r}")
        state = self._state
        if state.on_network(network):
            return
        state.queues[network] = TableQueue()
        state.left_records.drop((state.name, network))
        self.say_network(network, leaving=False)
        state.rounds.joined(network, now)

    def leave_network(self, network: str, now: float) -> None:
        """Leave a network: entries of others are forgotten, own ones become tombstones.

        They get a time of their own (Docker leaves the former one): a peer that missed the leave, because the next join
        took its place in the queue, then takes the tombstones when both sync again.
        """
        state = self._state
        if not state.on_network(network):
            return
        for key, entry in list(state.tables.of(network)):
            if entry.owner != state.name:
                state.tables.remove(network, key)
            elif not entry.deleting:
                l_time = state.table_clock.increment()
                tombstone = Entry(state.name, l_time, entry.value, deleting=True, reap_at=now + TOMBSTONE)
                state.tables.store(network, key, tombstone)
            state.mark(network, key)
        del state.queues[network]
        state.telling.leave(network)
        state.rounds.left(network)
        self.say_network(network, leaving=True)
        state.left_records.set((state.name, network), now + LEFT_NETWORK)

    def say_network(self, network: str, leaving: bool) -> None:
        """Say that this node is on a network, or has left it, with a time of now."""
        state = self._state
        l_time = state.network_clock.increment()
        state.attachments.set(state.name, network, l_time, leaving)
        event = messages.network_event(LEAVE if leaving else JOIN, l_time, state.name, network)
        state.own_events.put((network, state.name), event)

    def stamp_networks(self) -> None:
        """Give all own attachments a time of now, without gossip (gossip.md 2.6)."""
        state = self._state
        l_time = state.network_clock.increment()
        for network in state.queues:
            state.attachments.set(state.name, network, l_time)

    def say_node(self, leaving: bool) -> None:
        """Say that this node is here, or leaves."""
        state = self._state
        kind = pb.NodeEvent.LEAVE if leaving else pb.NodeEvent.JOIN
        event = messages.node_event(kind, state.network_clock.increment(), state.name)
        state.own_events.put(state.name, event)

    def echoed_network(self, network: str, l_time: int, leaving: bool, now: float) -> None:
        """Answer somebody's word about this node on a network, if it is newer than ours and wrong."""
        state = self._state
        record = state.attachments.get(state.name, network)
        if (record is not None and record.l_time > l_time) or leaving != state.on_network(network):
            return
        if not state.corrections.take(now):
            state.counts["corrections put off"] += 1
            return
        state.counts["attachments corrected"] += 1
        if record is None:
            state.left_records.set((state.name, network), now + LEFT_NETWORK)
        self.say_network(network, leaving=not leaving)
        if leaving:  # they have forgotten our entries
            self.say_entries(network, now)

    # -- entries ------------------------------------------------------------------------------------------------------

    def put(self, table: str, network: str, key: str, value: bytes, now: float) -> None:
        """Write an entry; the same value again: nothing.

        Raises NotFound if this node is not on the network, and InvalidArgument for names and values that nobody takes.
        Raises Conflict for a key that was deleted, or is another node's: take a fresh random one. Peers of Docker
        refuse a key with a tombstone in their own tables, and until the tombstone is gone a new entry looks like an old
        one.
        """
        state = self._state
        if not state.on_network(network):
            raise NotFound(f"this node is not on network {network}")
        if not messages.fits(table, key) or len(value) > messages.MOST_VALUE:
            raise InvalidArgument(f"no entry of a table: {table!r}, {key!r} with {len(value)} bytes")
        at = Key(table, key)
        former = state.tables.get(network, at)
        if former is not None and former.deleting:
            raise Conflict(f"key {key} of {table} was deleted, and is not used twice")
        if former is not None and former.owner != state.name:
            raise Conflict(f"key {key} of {table} belongs to node {former.owner}")
        if former is None or former.value != value:
            event = self._write(network, at, value, _kind(table, value, known=former is not None))
            state.telling.write(network, at, event, state.others_on(network), now)

    def delete(self, table: str, network: str, key: str, now: float) -> None:
        """Delete an own entry; if there is none: nothing."""
        entry = self._state.tables.get(network, Key(table, key))
        if entry is not None and entry.owner == self._state.name and not entry.deleting:
            self._bury(network, Key(table, key), entry.value, now)

    def say_entries(self, network: str, now: float) -> None:
        """Gossip all own entries of a network again, as they are."""
        state = self._state
        for key in state.tables.owned(network, state.name):
            entry = state.tables.get(network, key)
            if entry is not None and key not in state.queues[network].own:
                state.queues[network].put(key, say(network, key, entry, now), own=True)

    def echoed_entry(self, event: pb.TableEvent, now: float) -> None:
        """Answer an event with this node's name, if it is newer than what we know and wrong.

        Docker's old versions make tombstones of a node's entries when it leaves a network, with the entries' own time
        (known fault 2); and a peer may hold what we deleted so long ago that our tombstone is gone.
        """
        state = self._state
        network, key = event.network_id, Key(event.table_name, event.key)
        entry = state.tables.get(network, key)
        deleting = event.type == messages.DELETE
        if not state.on_network(network) or (entry is not None and entry.l_time > event.l_time):
            return
        if entry is not None and entry.owner != state.name:
            return
        if entry is None or entry.deleting:
            if not deleting and (entry is not None or state.tables.room_for(network, event.value)):
                self._corrected(network, key, event.value, now, entry=None)
        elif deleting or entry.value != event.value:
            self._corrected(network, key, entry.value, now, entry=entry)

    def reassert(self, network: str, key: Key, entry: Entry, now: float) -> None:
        """Say an own entry again which another node has written."""
        self._corrected(network, key, entry.value, now, entry=entry)

    def _corrected(self, network: str, key: Key, value: bytes, now: float, *, entry: Entry | None) -> None:
        state = self._state
        if not state.corrections.take(now):
            state.counts["corrections put off"] += 1
            return
        state.counts["entries corrected"] += 1
        if entry is None:
            self._bury(network, key, value, now)
        else:
            event = self._write(network, key, value, entry.kind)
            if state.telling.tells(network, key):
                state.telling.write(network, key, event, state.others_on(network), now)

    def _write(self, network: str, key: Key, value: bytes, kind: "pb.TableEvent.Type") -> bytes:
        state = self._state
        entry = Entry(state.name, state.table_clock.increment(), value, kind=kind)
        state.store(network, key, entry)
        event = messages.table_event(kind, entry.l_time, state.name, network, *key, value=value)
        state.queues[network].put(key, event, own=True)
        return event

    def _bury(self, network: str, key: Key, value: bytes, now: float) -> None:
        state = self._state
        entry = Entry(state.name, state.table_clock.increment(), value, deleting=True, reap_at=now + TOMBSTONE)
        state.store(network, key, entry)
        state.telling.discard(network, key)
        state.queues[network].put(key, say(network, key, entry, now), own=True)


def _kind(table: str, value: bytes, known: bool) -> "pb.TableEvent.Type":
    """Return how a value is said so that Docker's old versions understand it (gossip.md 3).

    They take an UPDATE of a peer for a DELETE, and of an endpoint for an error unless it is one that is disabled; a
    CREATE of what they know they take.
    """
    if not known or table == PEERS:
        return messages.CREATE
    if table == ENDPOINTS:
        try:
            return messages.UPDATE if EndpointRecord.decode(value).disabled else messages.CREATE
        except InvalidArgument:
            return messages.CREATE
    return messages.UPDATE
