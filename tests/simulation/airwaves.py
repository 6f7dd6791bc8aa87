"""Many memberlists in virtual time, on a network that loses, delays, duplicates and reorders packets, and can be
partitioned.

There is one heap of events, ordered by (time, number). Everything random comes from one seed. Streams are not lost,
because TCP sends again, but they fail if the other side is gone or cut off.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, streams
from shoal.network.gossip.commands import Ask, Note, Send
from shoal.network.gossip.config import Config
from shoal.network.gossip.delegate import Member, State
from shoal.network.gossip.memberlist import Memberlist
from shoal.network.networkdb.members import Members
from shoal.network.networkdb.rejoining import Rejoining

KEYS = (b"primary key 1234", b"the one before..", b"the one to come.")
RETRANSMITS = 8  # how often each node that hears a rumour sends it


@dataclass
class Listening:
    """A delegate that remembers what it was told, and spreads rumours. Its `members` are those of NetworkDB."""

    events: list[tuple[str, str, float]] = field(default_factory=list)
    heard_messages: list[bytes] = field(default_factory=list)
    rumours: dict[bytes, int] = field(default_factory=dict)  # how often each must still be sent
    states: list[bytes] = field(default_factory=list)
    state: bytes = b"state"
    members: Members = field(default_factory=Members)
    confirmations: list[tuple[int, bool]] = field(default_factory=list)

    def heard(self, message: bytes, now: float) -> None:
        if message not in self.heard_messages:
            self.heard_messages.append(message)
            self.rumours[message] = RETRANSMITS

    def confirmed(self, number: int, arrived: bool, now: float) -> None:
        self.confirmations.append((number, arrived))

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        taken = []
        for message in list(self.rumours):
            if len(message) + overhead <= limit:
                limit -= len(message) + overhead
                taken.append(message)
                self.rumours[message] -= 1
                if not self.rumours[message]:
                    del self.rumours[message]
        return taken

    def local_state(self, join: bool, now: float) -> bytes:
        return self.state

    def merge_state(self, state: bytes, join: bool, now: float) -> None:
        self.states.append(state)

    def member_joined(self, member: Member, now: float) -> None:
        self.events.append(("joined", member.name, now))
        self.members.joined(member, now)

    def member_failed(self, member: Member, now: float) -> None:
        self.events.append(("failed", member.name, now))
        self.members.silent(member, now)

    def member_left(self, member: Member, now: float) -> None:
        self.events.append(("left", member.name, now))
        self.members.silent(member, now)
        self.members.said(member.name, True, now)

    def member_updated(self, member: Member, now: float) -> None:
        self.events.append(("updated", member.name, now))
        self.members.updated(member)


class Station:
    """One node: a memberlist, its delegate, and who calls those that it has lost. `runs`: neither crashed nor gone."""

    def __init__(self, air: "Air", number: int, config: Config, contact: str) -> None:
        self.air = air
        self.name = config.name
        self.address = config.address
        self.delegate = Listening()
        rng = random.Random(air.rng.random())
        self.memberlist = Memberlist(config, self.delegate, KEYS, rng, rng.randbytes, air.now)
        self.rng = random.Random(air.rng.random())
        self.rejoining = Rejoining(((contact, config.port),) if contact else (), air.now)
        self.calls_at = -1.0
        self.runs = True
        self.group = 0  # nodes of one group reach each other
        self.due = -1.0
        self.number = number

    def states(self) -> dict[str, State]:
        """Return what this node believes about each other member."""
        return {member.name: member.state for member in self.memberlist.members() if member.name != self.name}

    def do(self, action: Callable[[Memberlist, float], object]) -> None:
        """Call memberlist, and do what it asks for."""
        action(self.memberlist, self.air.now)
        self.air.carry_out(self)

    def receive(self, data: bytes, sender: str) -> None:
        """Receive a packet."""
        self.do(lambda memberlist, now: memberlist.handle_packet(data, (sender, 7946), now))


class Air:
    """The network and the time."""

    def __init__(
        self,
        seed: int,
        *,
        loss: float = 0.0,
        delay: tuple[float, float] = (0.0002, 0.002),
        doubles: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.loss, self.delay, self.doubles = loss, delay, doubles
        self.stations: dict[str, Station] = {}
        self.counts: Counter[str] = Counter()
        self.largest = 0
        self.notes: Counter[str] = Counter()
        # The latest packets, with sender and receiver.
        self.seen: deque[tuple[str, str, bytes]] = deque(maxlen=5000)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def add(self, contact: Station | None = None, **options: float) -> Station:
        """Start a node, which calls another one."""
        number = len(self.stations) + 1
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        name = f"{self.rng.getrandbits(48):012x}"
        station = Station(
            self,
            number,
            Config(name=name, address=address, **options),  # type: ignore[arg-type]
            contact.address if contact else "",
        )
        self.stations[address] = station
        self.carry_out(station)
        return station

    def running(self) -> list[Station]:
        """Return the nodes that run."""
        return [station for station in self.stations.values() if station.runs]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, event = heapq.heappop(self._heap)
            self.counts["events"] += 1
            event()
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float, every: float = 0.1) -> float:
        """Let time pass until a condition is true. Returns how long that took. Raises AssertionError after `within`
        seconds.
        """
        start = self.now
        while not condition():
            assert self.now - start < within, f"not within {within} s of virtual time"
            self.run(every)
        return self.now - start

    def all_know_all(self) -> bool:
        """Return whether each node believes that exactly the running nodes are alive."""
        names = {station.name for station in self.running()}
        return all(
            {name for name, state in station.states().items() if state == State.ALIVE} == names - {station.name}
            for station in self.running()
        )

    def believed(self, subject: Station) -> Counter[State | None]:
        """Return what the others believe about a node, and how many of them. None: they do not know it."""
        return Counter(station.states().get(subject.name) for station in self.running() if station is not subject)

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Schedule an event."""
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, event))

    def carry_out(self, station: Station) -> None:
        """Do what a memberlist asks for."""
        for command in station.memberlist.take_commands():
            if isinstance(command, Send):
                self._send(station, command)
            elif isinstance(command, Ask):
                self._ask(station, command)
            else:
                assert isinstance(command, Note)
                self.notes[command.kind] += 1
        due = station.memberlist.next_at()
        if due != station.due:
            station.due = due
            self.at(max(due, self.now), lambda: self._tick(station, due))

        calls_at = station.rejoining.next(station.delegate.members)
        if calls_at != station.calls_at and calls_at != float("inf"):
            station.calls_at = calls_at
            self.at(max(calls_at, self.now), lambda: self._call_lost(station, calls_at))

    def _call_lost(self, station: Station, calls_at: float) -> None:
        if station.runs and station.calls_at == calls_at:
            station.calls_at = -1.0
            called = station.rejoining.due(station.delegate.members, station.rng, self.now)
            station.do(lambda memberlist, now: memberlist.call(called, now))

    def _tick(self, station: Station, due: float) -> None:
        if station.runs and station.due == due:
            station.due = -1.0
            station.do(lambda memberlist, now: memberlist.tick(now))

    def _reachable(self, one: Station, other: Station | None) -> bool:
        return other is not None and other.runs and one.group == other.group

    def _send(self, station: Station, packet: Send) -> None:
        self.largest = max(self.largest, len(packet.data))
        self.seen.append((station.address, packet.address, packet.data))
        copies = 2 if self.rng.random() < self.doubles else 1
        self.counts["doubled"] += copies - 1
        for _ in range(copies):
            if self.rng.random() < self.loss:
                self.counts["lost"] += 1
                continue
            self.counts["packets"] += 1
            self.at(self.now + self.rng.uniform(*self.delay), lambda: self._arrive(station, packet))

    def _arrive(self, sender: Station, packet: Send) -> None:
        target = self.stations.get(packet.address)
        if target is None or not self._reachable(sender, target):
            self.counts["cut"] += 1
            return
        target.receive(packet.data, sender.address)

    def _ask(self, asker: Station, ask: Ask) -> None:
        self.counts["streams"] += 1
        target = self.stations.get(ask.address)

        def failed(reason: str) -> Callable[[], None]:
            return lambda: asker.do(lambda memberlist, now: memberlist.handle_failure(ask.number, reason, now))

        if target is None or not self._reachable(asker, target):
            self.at(self.now + ask.timeout, failed("timed out"))
            return

        def serve() -> None:
            if not self._reachable(asker, target):
                self.at(self.now + ask.timeout, failed("timed out"))
                return
            try:
                said = read(target, ask.data)
            except InvalidArgument as error:
                self.counts["refused"] += 1
                self.at(self.now, failed(str(error)))
                return
            answer = target.memberlist.answer(said, (asker.address, 40000), self.now)
            self.carry_out(target)
            self.at(self.now + self.rng.uniform(*self.delay), lambda: answered(answer))

        def answered(answer: bytes) -> None:
            if not asker.runs:
                return
            if ask.answered:
                try:
                    said = read(asker, answer)
                except InvalidArgument as error:
                    self.counts["refused"] += 1
                    failed(str(error))()
                    return
                asker.do(lambda memberlist, now: memberlist.handle_answer(ask.number, said, now))
            else:
                asker.do(lambda memberlist, now: memberlist.handle_done(ask.number, now))

        self.at(self.now + 2 * self.rng.uniform(*self.delay), serve)


def read(station: Station, data: bytes) -> streams.Said:
    """Read a whole stream as a node's server does."""
    header, body = data[: framing.HEADER], data[framing.HEADER :]
    assert framing.stream_length(header) == len(body)
    return streams.read(station.memberlist.keyring, header, body)
