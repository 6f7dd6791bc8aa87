"""Who has been told what this node wrote, and has confirmed it. Pure.

Gossip spreads an entry sooner or later, and nobody knows when all have it. Where that must be known (a task counts as
running, or is stopped), each node of the network is also told directly: the entry in a packet of its own, behind which
memberlist sends a ping; its answer confirms whatever came before it. Docker Engines answer as well. What is not
answered is sent again; after `WITHIN` nobody waits any longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field

from shoal.network.networkdb import messages

WITHIN = 2.0  # as long as Docker waits, always: defaultGossipConvergeDelay in moby's container/controller.go
AGAIN_AFTER = 0.2  # of packets on the way; memberlist's round of gossip
WINDOW = 4  # packets that are under way to one node: it may take a moment to do what they say
MOST_AT_ONCE = 128  # packets of one call. The others are due at once after it, when others have had their turn
# Bytes of a compound. A datagram has 1371 for messages, and the ping and its part of the packet take up to 130.
PACKET = 1200
MISSES = 3  # waits in a row after which a node is told, and not waited for until it confirms something
NEVER = float("inf")


@dataclass(slots=True)
class _Event:
    network: str
    message: bytes
    cost: int
    until: float
    waits_for: set[str]  # nodes
    numbers: list[int]  # its own, and of older ones about the key: who has this one has what they said


@dataclass(slots=True)
class _Missed:
    network: str
    at: float  # when the last wait ended
    waits: int = 1


@dataclass(slots=True)
class _Packet:
    node: str
    at: float
    events: tuple[int, ...]


@dataclass(slots=True)
class _Node:
    waiting: dict[int, float] = field(default_factory=dict)  # events that it has not confirmed, when each was last sent
    packets: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Told:
    """A message to be sent to a node, and its answer to be handed in under the number."""

    node: str
    number: int
    message: bytes


class Telling:
    """What is being told. `introduction` is a message that goes first: that this node is on a network.

    Others take no entry of a node that is not on the network for all they know.
    """

    def __init__(self, introduction: Callable[[str], bytes]) -> None:
        self._introduction = introduction
        self._last = 0
        self._number = 0
        self._events: dict[int, _Event] = {}  # in the order of writing, and so of their ends
        self._open: dict[int, float] = {}  # numbers that are waited for, and until when; in the same order
        self._event_of: dict[tuple[str, Hashable], int] = {}
        self._key_of: dict[int, tuple[str, Hashable]] = {}
        self._nodes: dict[str, _Node] = {}
        self._packets: dict[int, _Packet] = {}
        self._silent: set[str] = set()
        self._missed: dict[str, _Missed] = {}  # by node
        self._deaf: set[str] = set()  # those that missed `MISSES`
        self._next_at = NEVER

    def __len__(self) -> int:
        return len(self._events)

    @property
    def last(self) -> int:
        """The number of the last event that was written."""
        return self._last

    @property
    def told(self) -> int:
        """The number up to which nothing is waited for: all that count have confirmed it, or had their time."""
        return next(iter(self._open)) - 1 if self._open else self._last

    def write(self, network: str, key: Hashable, message: bytes, nodes: Collection[str], now: float) -> None:
        """Tell these nodes of an event, in the place of an older one about the key."""
        self._last += 1
        number, until = self._last, now + WITHIN
        former = self._event_of.get((network, key))
        older: list[int] = []
        if former is not None:
            if nodes:
                older = [one for one in self._events[former].numbers if one in self._open]
                self._events[former].numbers = []
            self._end(former)
        if not nodes:
            return
        cost = messages.cost_in_compound(len(message))
        self._events[number] = _Event(network, message, cost, until, set(nodes), [*older, number])
        self._open[number] = until
        self._look_who_counts(number)
        self._event_of[network, key] = number
        self._key_of[number] = (network, key)
        for node in nodes:
            self._nodes.setdefault(node, _Node()).waiting[number] = float("-inf")
        self._next_at = now

    def tells(self, network: str, key: Hashable) -> bool:
        """Whether an event about a key is waited for."""
        return (network, key) in self._event_of

    def discard(self, network: str, key: Hashable) -> None:
        """Tell no more of a key."""
        number = self._event_of.get((network, key))
        if number is not None:
            self._end(number)

    def leave(self, network: str) -> None:
        """Tell no more of a network."""
        for number in [number for number, event in self._events.items() if event.network == network]:
            self._end(number)

    def _end(self, number: int) -> None:
        event = self._events.pop(number)
        self._wait_no_longer(event)
        del self._event_of[self._key_of.pop(number)]
        for node in event.waits_for:
            self._settle(node, number)

    def _wait_no_longer(self, event: _Event) -> None:
        for number in event.numbers:
            self._open.pop(number, None)

    def _look_who_counts(self, number: int) -> None:
        """Wait no longer for an event that only nodes which never confirm anything have not confirmed."""
        event = self._events[number]
        if event.waits_for <= self._deaf:
            self._wait_no_longer(event)

    def _miss(self, name: str, event: _Event, now: float) -> None:
        """A node did not confirm an event in time. Those that were written during a wait are one wait."""
        missed = self._missed.get(name)
        if missed is None:
            missed = self._missed[name] = _Missed(event.network, now)
        elif event.until - WITHIN >= missed.at:
            missed.network, missed.at, missed.waits = event.network, now, missed.waits + 1
        if name not in self._deaf:
            self._silent.add(name)
        if missed.waits >= MISSES and name not in self._deaf:
            self._deaf.add(name)
            for number in self._nodes[name].waiting:
                self._look_who_counts(number)

    def _hears(self, name: str) -> None:
        self._missed.pop(name, None)
        self._deaf.discard(name)

    def _settle(self, name: str, number: int) -> None:
        """Wait no longer for a node to confirm an event."""
        node = self._nodes[name]
        del node.waiting[number]
        if not node.waiting:
            for packet in node.packets:
                del self._packets[packet]
            del self._nodes[name]

    def _confirmed(self, name: str, number: int) -> None:
        event = self._events.get(number)
        if event is None or name not in event.waits_for:
            return
        event.waits_for.remove(name)
        self._settle(name, number)
        if not event.waits_for:
            self._end(number)
        else:
            self._look_who_counts(number)

    def confirm(self, number: int, now: float) -> None:
        """Take in that a message arrived."""
        packet = self._packets.pop(number, None)
        if packet is None:
            return
        self._nodes[packet.node].packets.remove(number)
        self._hears(packet.node)
        for event in packet.events:
            self._confirmed(packet.node, event)
        if packet.node in self._nodes:
            self._next_at = min(self._next_at, now)

    def give_up(self, number: int) -> None:
        """Take in that the node of a message is none that counts: nobody waits for it."""
        packet = self._packets.get(number)
        if packet is not None:
            for event in list(self._nodes[packet.node].waiting):
                self._confirmed(packet.node, event)

    def take_silent(self) -> list[str]:
        """Return the nodes that did not confirm something in time, since the last call."""
        silent, self._silent = sorted(self._silent), set()
        return silent

    def next_at(self) -> float:
        """Return when `due` has something to do."""
        if not self._events:
            return NEVER
        until = next(iter(self._events.values())).until
        return min(self._next_at, until, next(iter(self._open.values()), NEVER))

    def due(self, counts: Callable[[str, str], bool], now: float) -> list[Told]:
        """Return what is to be sent now. `counts`: whether a node is still there, and on a network."""
        for number, event in list(self._events.items()):
            if event.until <= now:
                for node in event.waits_for:
                    if counts(node, event.network):
                        self._miss(node, event, now)
                self._end(number)
        for name, missed in list(self._missed.items()):
            if not counts(name, missed.network):
                self._hears(name)  # or another by its name, later
        while self._open and (first := next(iter(self._open.items())))[1] <= now:
            del self._open[first[0]]
        self._forget_packets(now)
        found: list[Told] = []
        self._next_at = NEVER
        for name in list(self._nodes):
            for number in list(self._nodes[name].waiting):
                if not counts(name, self._events[number].network):
                    self._confirmed(name, number)
            if name in self._nodes:
                found += self._of_node(name, MOST_AT_ONCE - len(found), now)
        return found

    def _forget_packets(self, now: float) -> None:
        """Forget packets that nobody answered: what they tell of has ended. They are in the order of sending."""
        while self._packets:
            number, packet = next(iter(self._packets.items()))
            if packet.at + WITHIN > now:
                return
            del self._packets[number]
            self._nodes[packet.node].packets.remove(number)

    def _of_node(self, name: str, room: int, now: float) -> Iterator[Told]:
        node = self._nodes[name]
        under_way = sum(now < self._packets[packet].at + AGAIN_AFTER for packet in node.packets)
        for events in self._filled([number for number, at in node.waiting.items() if now >= at + AGAIN_AFTER]):
            if under_way == WINDOW or not room:
                # An answer makes room; where none comes, time does.
                self._next_at = min(self._next_at, now + AGAIN_AFTER if room else now)
                break
            under_way, room = under_way + 1, room - 1
            self._number += 1
            self._packets[self._number] = _Packet(name, now, events)
            node.packets.add(self._number)
            node.waiting.update(dict.fromkeys(events, now))
            yield Told(name, self._number, self._message(events))
        then = (at + AGAIN_AFTER for at in node.waiting.values())
        self._next_at = min(self._next_at, min((at for at in then if at > now), default=NEVER))

    def _filled(self, numbers: list[int]) -> Iterator[tuple[int, ...]]:
        """Yield as many events as one packet holds, again and again; one that is longer than a packet is alone."""
        packet: list[int] = []
        used, networks = 0, set[str]()
        for number in numbers:
            event = self._events[number]
            cost = event.cost
            if event.network not in networks:
                cost += messages.cost_in_compound(len(self._introduction(event.network)))
            if packet and messages.COMPOUND_OVERHEAD + used + cost > PACKET:
                yield tuple(packet)
                packet, used, networks = [], 0, set()
                cost = event.cost + messages.cost_in_compound(len(self._introduction(event.network)))
            packet.append(number)
            networks.add(event.network)
            used += cost
        if packet:
            yield tuple(packet)

    def _message(self, numbers: tuple[int, ...]) -> bytes:
        events = [self._events[number] for number in numbers]
        networks = dict.fromkeys(event.network for event in events)
        return messages.compound(
            [*(self._introduction(network) for network in networks), *(event.message for event in events)]
        )
