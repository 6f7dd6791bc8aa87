"""One node's NetworkDB: memberlist gives it messages and members, the network process its entries and the time.

Every method takes the time; after any of them, `next_tick` says when `tick` is to be called. Nothing that comes from
another node raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.bulk_sync import SLICE, Answers, Backlog, payloads
from shoal.network.networkdb.events import Events
from shoal.network.networkdb.members import Member
from shoal.network.networkdb.own import Own
from shoal.network.networkdb.queues import transmits
from shoal.network.networkdb.reaping import GONE, HIDDEN, REAP_EVERY
from shoal.network.networkdb.rejoining import Contact, Rejoining
from shoal.network.networkdb.state import State
from shoal.network.records import Changed

if TYPE_CHECKING:
    from random import Random

GOSSIP_EVERY = 0.2
FAN_OUT = 3
MOST_DEPTH = 2  # a compound in a bulk sync; in compounds Docker sends none
# A node that was cut off says again what it has, once in this time at the most: Docker's nodes have forgotten it.
ANNOUNCE_EVERY = 30.0
NEVER = float("inf")


class Gossip(Protocol):
    """What NetworkDB needs of memberlist. All of it only asks for it: nothing is called back meanwhile."""

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        """Send a user message to a member, by a stream if it is to be reliable, else in a packet."""

    def tell(self, name: str, message: bytes, number: int) -> None:
        """Send a user message to a member that lives, with a question behind it: see `NetworkDB.confirmed`."""

    def join(self, contacts: Sequence[Contact]) -> None:
        """Exchange states (push/pull, join = true) with each of these."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much there is of everything."""

    networks: int
    nodes: int
    failed: int
    attachments: int
    entries: int  # tombstones included
    tombstones: int
    bytes: int
    queued_own: int
    queued_relayed: int
    told: int  # entries that not all have confirmed yet
    broadcasts: int
    backlog_bytes: int
    counts: dict[str, int]  # what was refused or mended


class NetworkDB:
    """A state machine. `name` is this node's in gossip: a fresh random one for each start."""

    def __init__(self, name: str, gossip: Gossip, rng: Random, now: float, contacts: tuple[Contact, ...] = ()) -> None:
        self._state = State(name, rng)
        self._own = Own(self._state)
        self._events = Events(self._state, self._own)
        self._gossip = gossip
        self._answers = Answers()
        self._backlog = Backlog()
        self._rejoining = Rejoining(contacts, now)
        self._gossip_at = now
        self._reap_at = now + REAP_EVERY
        self._cut_off = False
        self._announced_at = float("-inf")
        self._announce_at = NEVER

    # -- what the process wants ---------------------------------------------------------------------------------------

    @property
    def clocks(self) -> tuple[int, int]:
        """The times of networks and of tables, for a successor of the same name."""
        return self._state.network_clock.time, self._state.table_clock.time

    def resume(self, clocks: tuple[int, int]) -> None:
        """Be the successor: what is said from now on is later than all that was."""
        self._state.network_clock.resume(clocks[0])
        self._state.table_clock.resume(clocks[1])

    def set_contacts(self, contacts: tuple[Contact, ...]) -> None:
        """Take the addresses of the managers, without this node's own."""
        self._rejoining.contacts = contacts

    def join_network(self, network: str, now: float) -> None:
        """Take part in a network; again: nothing. InvalidArgument."""
        self._own.join_network(network, now)

    def leave_network(self, network: str, now: float) -> None:
        """Leave a network; again: nothing. What is to be seen gone at once by all is deleted before."""
        self._own.leave_network(network, now)

    def is_on(self, network: str) -> bool:
        """Whether this node is on a network."""
        return self._state.on_network(network)

    def put(self, table: str, network: str, key: str, value: bytes, now: float) -> None:
        """Write an own entry; the same again: nothing. NotFound, InvalidArgument, Conflict: see `Own.put`."""
        self._own.put(table, network, key, value, now)

    def delete(self, table: str, network: str, key: str, now: float) -> None:
        """Delete an own entry; again: nothing."""
        self._own.delete(table, network, key, now)

    @property
    def is_behind(self) -> bool:
        """Whether there is more that others have sent than could be taken in so far."""
        return bool(self._backlog)

    @property
    def written(self) -> int:
        """How many times this node has written an entry; deletions do not count."""
        return self._state.telling.last

    @property
    def told(self) -> int:
        """How many of these, from the first one on, nobody waits for.

        All nodes on the network that are here have confirmed them, or had `telling.WITHIN` to do so (`take_silent`).
        """
        return self._state.telling.told

    def take_silent(self) -> list[str]:
        """Return the nodes that did not confirm an entry in time, since the last call."""
        return self._state.telling.take_silent()

    def leave(self, now: float) -> None:
        """Say to all that this node leaves for good. Memberlist leaves once `leave_is_told`, or after 5 s."""
        self._events.leaving = True
        self._own.say_node(leaving=True)

    @property
    def leave_is_told(self) -> bool:
        """Whether nothing is left to say of this node: also where there is nobody to say it to (known fault 10)."""
        return not self._state.own_events or not len(self._state.members.active)

    def take_changes(self) -> list[Changed]:
        """Return what has changed in the tables since the last call, each key once, own entries too."""
        return self._state.changes.take(self._state.show)

    def peers(self, network: str) -> list[str]:
        """Return the names of the nodes that are here and on a network, this one included if it is."""
        state = self._state
        return sorted(
            name for name in state.attachments.on(network) if name == state.name or state.members.is_active(name)
        )

    def peer_addresses(self, network: str) -> list[tuple[str, str]]:
        """Return these nodes with their addresses; that of this node is empty."""
        members = self._state.members
        return [(name, node.address if (node := members.get(name)) else "") for name in self.peers(network)]

    def statistics(self) -> Statistics:
        """Return how much there is of everything."""
        state = self._state
        queues = state.queues.values()
        return Statistics(
            networks=len(queues),
            nodes=len(state.members.active),
            failed=len(state.members.failed),
            attachments=len(state.attachments),
            entries=len(state.tables),
            tombstones=state.tables.tombstones,
            bytes=state.tables.bytes,
            queued_own=sum(len(queue.own) for queue in queues),
            queued_relayed=sum(len(queue.relayed) + len(queue.long) for queue in queues),
            told=len(state.telling),
            broadcasts=len(state.own_events) + len(state.network_events) + len(state.node_events),
            backlog_bytes=self._backlog.bytes,
            counts=dict(state.counts),
        )

    # -- what memberlist tells ----------------------------------------------------------------------------------------

    def member_joined(self, member: Member, now: float) -> None:
        """A member is alive: a new one, or one that was taken for dead."""
        state = self._state
        if member.name == state.name:
            return
        known = state.members.get(member.name)
        returned = known is not None and not known.active
        alone = not len(state.members.active)
        older = state.members.joined(member, now)
        if older is not None:
            state.purge_node(older, now, "replaced")
            self._answers.gone(older)
        state.hidden.drop(member.name)
        state.mark_all_of(member.name)
        for network in self._common(member.name):
            state.rounds.appeared(network, now)
            if returned and self._cut_off:
                state.rounds.soon(network, member.name, now + state.rng.uniform(0.5, 2.0))
            elif returned:
                self._events.sync_soon(network, member.name, now)
        if returned and self._cut_off:
            self._announce_soon(now)
        elif alone:
            self._own.say_node(leaving=False)

    def member_failed(self, member: Member, now: float) -> None:
        """A member is silent: its entries are hidden, and kept in case that it returns."""
        state = self._state
        node = state.members.get(member.name)
        if node is None or not node.active:
            return
        state.members.silent(member, now)
        state.hidden.set(member.name, now + HIDDEN)
        state.mark_all_of(member.name, "silent")
        state.rounds.gone(member.name, now)
        self._answers.gone(member.name)
        # Where most are silent it is rather this node that was cut off, and they think the same of it.
        self._cut_off = self._cut_off or len(state.members.failed) >= len(state.members.active)

    def member_left(self, member: Member, now: float) -> None:
        """A member said to memberlist that it leaves."""
        state = self._state
        if state.members.get(member.name) is not None:
            state.members.silent(member, now)
            state.members.said(member.name, True, now)
            state.purge_node(member.name, now)
            self._answers.gone(member.name)

    def member_updated(self, member: Member, now: float) -> None:
        """A member has another address."""
        self._state.members.updated(member)

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Return messages for any member that fit into `limit` bytes, each with `overhead` more. They count as sent."""
        state = self._state
        times = transmits(len(state.members.active) + 1)
        drawn: list[bytes] = []
        for queue in (state.own_events, state.network_events, state.node_events):
            room = limit - sum(len(message) + overhead for message in drawn)
            drawn += queue.draw(room, times, overhead)
        return drawn

    def local_state(self, join: bool, now: float) -> bytes:
        """Return which node is on which network, for a push/pull."""
        state = self._state
        if join:
            self._own.stamp_networks()
        told = pb.NetworkPushPull(l_time=state.network_clock.time, node_name=state.name)
        for node, network, attachment in state.attachments:
            told.networks.add(network_id=network, l_time=attachment.l_time, node_name=node, leaving=attachment.leaving)
        return messages.wrap(pb.GossipMessage.PUSH_PULL, told.SerializeToString())

    def merge_state(self, state: bytes, join: bool, now: float) -> None:
        """Take what a peer said in a push/pull. Memberlist has told its members before."""
        told = messages.read_push_pull(state)
        if told is None:
            self._state.counts["messages that are none"] += 1
            return
        joined = pb.NodeEvent(type=pb.NodeEvent.JOIN, l_time=told.l_time, node_name=told.node_name)
        self._events.node(joined, messages.wrap(pb.GossipMessage.NODE_EVENT, joined.SerializeToString()), now)
        for entry in told.networks:
            if messages.fits(entry.node_name, entry.network_id):
                self._events.attachment(entry.node_name, entry.network_id, entry.l_time, entry.leaving, now)

    def confirmed(self, number: int, arrived: bool, now: float) -> None:
        """A member has got what it was told under a number; or it does not live for all that memberlist knows."""
        if arrived:
            self._state.telling.confirm(number, now)
        else:
            self._state.telling.give_up(number)

    def heard(self, message: bytes, now: float) -> None:
        """Take a user message, however it came. Of a long one the rest is left to `tick`.

        So is what came before it and is left: a datagram has hundreds of messages, and each would work some of it off.
        """
        waiting = bool(self._backlog)
        self._take(message, bulk=False, depth=0, now=now)
        if not waiting:
            self._work(now)

    def _take(self, message: bytes, bulk: bool, depth: int, now: float) -> None:
        outer = messages.unwrap(message)
        if outer is None:
            self._state.counts["messages that are none"] += 1
            return
        kind, data = outer
        event: pb.TableEvent | pb.NetworkEvent | pb.NodeEvent | None = None
        if kind == pb.GossipMessage.TABLE_EVENT:
            if (event := messages.read_table_event(data)) is not None:
                self._events.table(event, message, bulk, now)
                return
        elif kind == pb.GossipMessage.NETWORK_EVENT:
            if (event := messages.read_network_event(data)) is not None:
                self._events.network(event, message, now)
                return
        elif kind == pb.GossipMessage.NODE_EVENT:
            if (event := messages.read_node_event(data)) is not None:
                self._events.node(event, message, now)
                return
        elif depth < MOST_DEPTH and self._take_many(kind, data, bulk, depth, now):
            return
        self._state.counts["messages that are none"] += 1

    def _take_many(self, kind: int, data: bytes, bulk: bool, depth: int, now: float) -> bool:
        """Take a bulk sync or a compound; False if it is neither."""
        if kind == pb.GossipMessage.BULK_SYNC and depth == 0:
            sync = messages.read_bulk_sync(data)
            if sync is None:
                return False
            self._take_sync(sync, now)
            return True
        parts = messages.parts(data) if kind == pb.GossipMessage.COMPOUND else None
        if parts is None:
            return False
        if len(parts) > SLICE or self._backlog:
            if not self._backlog.add(parts, bulk):
                self._state.counts["messages beyond the limit"] += 1
            return True
        for part in parts:
            self._take(part, bulk, MOST_DEPTH, now)
        return True

    def _take_sync(self, sync: pb.BulkSyncMessage, now: float) -> None:
        state = self._state
        node = sync.node_name
        if not state.table_clock.witness(sync.l_time, now):
            state.counts["times that nobody can have"] += 1
            return
        if not state.members.is_active(node):
            return
        self._take(sync.payload, bulk=True, depth=1, now=now)
        state.rounds.heard(node, sync.l_time, sync.unsolicited, now)
        if sync.unsolicited:
            # Only what we have: names of other networks would be kept until they are answered.
            self._answers.asked(node, [network for network in sync.networks if state.on_network(network)])
            self._answer(now)

    def _work(self, now: float) -> None:
        for part, bulk in self._backlog.take():
            self._take(part, bulk, MOST_DEPTH, now)

    # -- time ---------------------------------------------------------------------------------------------------------

    def next_tick(self) -> float:
        """Return when `tick` is to be called, if nothing happens before. It may be over."""
        state = self._state
        if self._backlog:
            return float("-inf")
        times = [
            self._reap_at,
            self._announce_at,
            state.rounds.next(),
            self._rejoining.next(state.members),
            state.telling.next_at(),
        ]
        if len(self._answers):
            times.append(self._gossip_at)
        if any(queue and self._others_on(network) for network, queue in state.queues.items()):
            times.append(self._gossip_at)
        return min(times)

    def tick(self, now: float) -> None:
        """Do what is due."""
        state = self._state
        self._work(now)
        if now >= self._reap_at:
            self._reap(now)
        if now >= self._announce_at:
            self._announce(now)
        called = self._rejoining.due(state.members, state.rng, now)
        if called and not self._events.leaving:
            self._gossip.join(called)
        for node, networks in state.rounds.begin(now, self._choose, self._common):
            l_time = state.table_clock.increment()
            self._sync(node, networks, unsolicited=True, l_time=l_time, now=now)
            state.rounds.asked(node, networks, l_time, now)
        self._answer(now)
        for told in state.telling.due(state.is_on, now):
            self._gossip.tell(told.node, told.message, told.number)
        if now >= self._gossip_at:
            self._gossip_tables(now)

    def _gossip_tables(self, now: float) -> None:
        """Tell a few nodes of each network what is new there; a packet each, and one event that fits into none."""
        state = self._state
        self._gossip_at = now + GOSSIP_EVERY
        for network, queue in state.queues.items():
            # Nothing is drawn, and so counted as sent, where nobody is there to hear it.
            if not queue or not self._others_on(network):
                continue
            told = state.attachments.on(network).sample(FAN_OUT, state.rng, state.members.is_active)
            times = transmits(state.nodes_on(network))
            for packet, reliable in ((queue.draw(times), False), (queue.draw_long(times), True)):
                for node in told if packet is not None else ():
                    self._gossip.send(node, packet or b"", reliable)

    def _answer(self, now: float) -> None:
        for node, networks in self._answers.due(now):
            l_time = self._state.table_clock.increment()
            self._sync(node, networks, unsolicited=False, l_time=l_time, now=now)

    def _sync(self, node: str, networks: list[str], unsolicited: bool, l_time: int, now: float) -> None:
        """Say all entries of these networks to a node. Only the first message of several asks for an answer."""
        state = self._state
        for payload in payloads(state.tables, networks, now):
            message = messages.bulk_sync(l_time, unsolicited, state.name, networks, payload)
            self._gossip.send(node, message, reliable=True)
            unsolicited = False

    def _reap(self, now: float) -> None:
        state = self._state
        self._reap_at = now + REAP_EVERY
        for network, key in state.tables.reap(now):
            if network in state.queues:
                state.queues[network].discard(key)
        for node, network in state.left_records.due(now):
            state.attachments.remove(node, network)
        for node in state.hidden.due(now):
            state.purge_node(node, now)
        for node in state.members.forget(now - GONE):
            state.purge_node(node, now)
        state.orphans.reap(now)
        self._answers.tidy(now)

    def _announce_soon(self, now: float) -> None:
        """Say again what this node has, soon: spread over some time where many nodes do so at once."""
        if self._announce_at == NEVER:
            spread = self._state.rng.uniform(0.5, 1.0 + len(self._state.members.active) / 25)
            self._announce_at = max(now + spread, self._announced_at + ANNOUNCE_EVERY)

    def _announce(self, now: float) -> None:
        state = self._state
        self._announce_at, self._announced_at = NEVER, now
        self._cut_off = len(state.members.failed) >= max(1, len(state.members.active))
        self._own.say_node(leaving=False)
        for network in state.queues:
            self._own.say_network(network, leaving=False)
            self._own.say_entries(network, now)

    def _choose(self, network: str, accept: Callable[[str], bool]) -> str | None:
        """Return some node that is here, on a network, and accepted."""
        state = self._state
        found = state.attachments.on(network).sample(
            1, state.rng, lambda name: state.members.is_active(name) and accept(name)
        )
        return found[0] if found else None

    def _common(self, node: str) -> list[str]:
        """Return this node's networks that another is on."""
        state = self._state
        return [
            network
            for network, attachment in state.attachments.of(node).items()
            if not attachment.leaving and state.on_network(network)
        ]

    def _others_on(self, network: str) -> bool:
        state = self._state
        return any(state.members.is_active(name) for name in state.attachments.on(network))
