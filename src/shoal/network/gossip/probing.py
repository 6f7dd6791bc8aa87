"""Finds out who is alive: asks one member after another, then through others, then suspects.

Pure. One probe at a time. Also asks on behalf of others. Source: gossip.md 1.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.network.gossip.delegate import State
from shoal.network.gossip.members import text_of
from shoal.network.gossip.messages import Ack, IndirectPing, Nack, Ping, Suspect, encode

if TYPE_CHECKING:
    import random

    from shoal.network.gossip.awareness import Awareness
    from shoal.network.gossip.config import Config
    from shoal.network.gossip.members import Members, Record
    from shoal.network.gossip.outbox import Outbox

# Questions on behalf of others that wait for an answer. More are not taken on: who asks has others to ask.
MAX_RELAYS = 1024
_SINCE_NACK, _SINCE_TCP = 4, 3  # versions of the protocol that know them
_SEQUENCES = 1 << 32


@dataclass(slots=True)
class _Probe:
    name: str
    seq: int
    ask_others_at: float
    ends_at: float
    is_answered: bool = False
    asked_others: bool = False
    nacks_expected: int = 0
    nacks: set[tuple[str, int]] = field(default_factory=set)


@dataclass(slots=True)
class _Relay:
    seq: int  # the asker's
    address: str
    port: int
    nack: bool
    ends_at: float


class Prober:
    """The probe that is under way, and the questions of others."""

    def __init__(
        self,
        config: Config,
        members: Members,
        awareness: Awareness,
        outbox: Outbox,
        rng: random.Random,
        now: float,
    ) -> None:
        self._config = config
        self._members = members
        self._awareness = awareness
        self._outbox = outbox
        self._next = 0  # in the order of probing
        # Not from 0: a node that is started again must not take answers to its predecessor for its own.
        self._seq = rng.randrange(_SEQUENCES)
        self._probe: _Probe | None = None
        self._begin_at = now + rng.random() * config.probe_interval
        self._relays: dict[int, _Relay] = {}
        self._streams: dict[int, int] = {}  # number of a stream: sequence number of the ping in it

    def next_at(self) -> float:
        """Return when `tick` has something to do."""
        times = [self._begin_at]
        if self._probe is not None and not self._probe.is_answered:
            times.append(self._probe.ends_at if self._probe.asked_others else self._probe.ask_others_at)
        if self._relays:
            times.append(next(iter(self._relays.values())).ends_at)  # all wait equally long
        return min(times)

    def tick(self, now: float) -> None:
        """Begin, go on or end with a probe."""
        self._end_relays(now)
        probe = self._probe
        if probe is not None and not probe.is_answered:
            if now >= probe.ends_at:
                self._probe = None
                self._fail(probe, now)
            elif now >= probe.ask_others_at and not probe.asked_others:
                self._ask_others(probe, now)
        if now >= self._begin_at and (self._probe is None or self._probe.is_answered):
            self._begin_at = max(self._begin_at + self._config.probe_interval, now)
            self._probe = None
            self._begin(now)
        elif now >= self._begin_at and self._probe is not None:
            # Memberlist's ticker likewise loses what falls into a probe that takes longer.
            self._begin_at = self._probe.ends_at

    def _begin(self, now: float) -> None:
        record = self._choose(now)
        if record is None:
            return
        seq = self.sequence()
        self._probe = _Probe(
            record.name, seq, now + self._config.probe_timeout, now + self._awareness.scale(self._config.probe_interval)
        )
        me = self._members.me
        ping = encode(Ping(seq, record.name, me.address, me.port, me.name))
        suspect = b""
        if record.state == State.SUSPECT:
            # So that it can speak up.
            suspect = encode(Suspect(record.incarnation, record.name, me.name))
        self._outbox.send(text_of(record.address), record.port, ping, now, also=suspect)

    def _choose(self, now: float) -> Record | None:
        for _ in range(2):
            order = self._members.order
            while self._next < len(order):
                record = self._members.get(order[self._next])
                self._next += 1
                if record is not None and record is not self._members.me and _lives(record):
                    return record
            self._members.reap(now)
            self._next = 0
        return None

    def _ask_others(self, probe: _Probe, now: float) -> None:
        probe.asked_others = True
        record = self._members.get(probe.name)
        if record is None:
            return
        me = self._members.me
        helpers = self._members.pick(
            self._config.indirect_checks, lambda other: other.state == State.ALIVE and other is not record
        )
        for helper in helpers:
            nack = helper.versions[1] >= _SINCE_NACK
            probe.nacks_expected += nack
            message = IndirectPing(
                probe.seq, record.address, record.port, record.name, nack, me.address, me.port, me.name
            )
            self._outbox.send(text_of(helper.address), helper.port, encode(message), now)
        if record.versions[1] >= _SINCE_TCP:
            ping = encode(Ping(probe.seq, record.name, me.address, me.port, me.name))
            number = self._outbox.ask(
                text_of(record.address), record.port, ping, answered=True, timeout=max(0.0, probe.ends_at - now)
            )
            self._streams = {number: probe.seq}

    def _fail(self, probe: _Probe, now: float) -> None:
        missing = probe.nacks_expected - len(probe.nacks)
        self._awareness.add(max(0, missing) if probe.nacks_expected else 1)
        record = self._members.get(probe.name)
        if record is not None:
            self._members.suspect(record, now)

    def handle_ping(self, ping: Ping, source: tuple[str, int], now: float) -> None:
        """Answer, if it is this node that is asked."""
        if ping.node and ping.node != self._members.me.name:
            self._outbox.note("ping", f"a ping for another node came here, for {ping.node!a}")
            return
        address, port = _asker(ping, source)
        self._outbox.send(address, port, encode(Ack(ping.seq)), now)

    def handle_indirect_ping(self, asked: IndirectPing, source: tuple[str, int], now: float) -> None:
        """Ask for another node.

        Only a member, and where we know it to be: else whoever has a key could have us send packets to anybody.
        """
        if len(self._relays) >= MAX_RELAYS:
            return
        seq = self.sequence()
        address, port = _asker(asked, source)
        self._relays[seq] = _Relay(asked.seq, address, port, asked.nack, now + self._config.probe_timeout)
        record = self._members.get(asked.node)
        if record is None or (record.address, record.port) != (asked.target, asked.port):
            return  # the nack tells at least that we live
        me = self._members.me
        ping = encode(Ping(seq, record.name, me.address, me.port, me.name))
        self._outbox.send(text_of(record.address), record.port, ping, now)

    def handle_ack(self, seq: int, now: float) -> None:
        """Take in that somebody answered."""
        if self._probe is not None and self._probe.seq == seq:
            self._answered(now)
        relay = self._relays.pop(seq, None)
        if relay is not None:
            self._outbox.send(relay.address, relay.port, encode(Ack(relay.seq)), now)

    def handle_nack(self, seq: int, source: tuple[str, int]) -> None:
        """Take in that a helper lives, whom the one that is probed did not answer."""
        probe = self._probe
        if probe is not None and probe.seq == seq and len(probe.nacks) < probe.nacks_expected:
            probe.nacks.add(source)

    def handle_stream(self, number: int, seq: int | None, now: float) -> bool:
        """Take in how a ping by TCP ended: answered with `seq`, or not at all. False where the stream is another."""
        wanted = self._streams.pop(number, None)
        if wanted is None:
            return False
        if wanted == seq and self._probe is not None and self._probe.seq == seq:
            self._answered(now)
            self._outbox.note("udp", f"a member answers by TCP and not by UDP: {self._probe.name!a}")
        return True

    def _answered(self, now: float) -> None:
        probe = self._probe
        if probe is None or probe.is_answered or now > probe.ends_at:
            return
        probe.is_answered = True
        self._awareness.add(-1)
        record = self._members.get(probe.name)
        if record is not None:
            self._members.prove(record)

    def _end_relays(self, now: float) -> None:
        while self._relays:
            seq, relay = next(iter(self._relays.items()))
            if relay.ends_at > now:
                return
            del self._relays[seq]
            if relay.nack:
                self._outbox.send(relay.address, relay.port, encode(Nack(relay.seq)), now)

    def sequence(self) -> int:
        """Return a number for a ping."""
        self._seq = (self._seq + 1) % _SEQUENCES
        return self._seq


def _lives(record: Record) -> bool:
    return record.state in (State.ALIVE, State.SUSPECT)


def _asker(message: Ping | IndirectPing, source: tuple[str, int]) -> tuple[str, int]:
    if message.source_address and message.source_port:
        return text_of(message.source_address), message.source_port
    return source
