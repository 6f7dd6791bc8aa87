"""Who is in the swarm's network: memberlist as a state machine.

Pure. In: datagrams, what streams say, how opened streams ended, the time. Out: commands (`commands`), and calls of the
delegate. Total: whatever comes in, nothing is raised but InvariantBroken. Source: gossip.md, section 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, pushpull
from shoal.network.gossip.awareness import Awareness
from shoal.network.gossip.broadcasts import Broadcasts
from shoal.network.gossip.cipher import OVERHEAD, Keyring, RandomBytes
from shoal.network.gossip.confirming import Confirming, Owed
from shoal.network.gossip.delegate import Delegate, Member, State
from shoal.network.gossip.members import Members, Record, packed_of, text_of
from shoal.network.gossip.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Kind,
    Nack,
    Ping,
    Suspect,
    decode,
    encode,
)
from shoal.network.gossip.outbox import Outbox
from shoal.network.gossip.probing import Prober
from shoal.network.gossip.pushpull import PushPull
from shoal.network.gossip.streams import PeerError, Said, UserMessage

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from shoal.network.gossip.commands import Command
    from shoal.network.gossip.config import Config

Place = tuple[str, int]  # address and port

# Pings of one datagram that are answered, on this node's or others' behalf. Nobody sends more than one: each answer
# takes what waits to be spread with it, and so costs far more than the question.
MAX_QUESTIONS = 4
MAX_STREAMS = 256  # opened and not ended; beyond it exchanges are left out, which are repeated anyway


class Memberlist:
    """One node's. `keys`: the one that encrypts first (`keys.ring`); `rng` and `random_bytes` draw whatever is random.

    After each call, `take_commands` returns what is to be done; `tick` wants to be called at `next_at`.
    """

    def __init__(
        self,
        config: Config,
        delegate: Delegate,
        keys: Sequence[bytes],
        rng: random.Random,
        random_bytes: RandomBytes,
        now: float,
    ) -> None:
        self.config = config
        self.delegate = delegate
        self._random_bytes = random_bytes
        self._broadcasts = Broadcasts()
        self._outbox = Outbox(config, Keyring(keys, random_bytes), delegate, self._broadcasts)
        awareness = self.awareness = Awareness()
        self.table = Members(config, delegate, rng, awareness, self._broadcasts, self._outbox.note, now)
        self._prober = Prober(config, self.table, awareness, self._outbox, rng, now)
        self._confirming = Confirming(config, self.table, self._outbox, delegate, random_bytes)
        self._exchanges: dict[int, Place] = {}  # push/pulls that we began
        self._others: set[int] = set()  # streams that carry a user's message
        self._gossip_at = now + rng.random() * config.gossip_interval
        self._push_pull_at = now + rng.random() * config.push_pull_interval
        self._leave_by: float | None = None

    @property
    def name(self) -> str:
        """This node's."""
        return self.config.name

    @property
    def keyring(self) -> Keyring:
        """What streams that come in are to be read with."""
        return self._outbox.keyring

    @property
    def number_of_members(self) -> int:
        """How many are alive, or only suspect; this node counts."""
        return self.table.living

    @property
    def largest_packet(self) -> int:
        """Bytes of a message that `send` takes where it is not `reliable`."""
        return self._outbox.room - 1

    @property
    def waiting(self) -> int:
        """How many messages about members wait to be spread."""
        return len(self._broadcasts)

    def members(self) -> list[Member]:
        """Return all that are known, those that are gone for a short while as well; this node is the first."""
        return [record.member() for record in self.table]

    def knows(self, address: str) -> bool:
        """Return whether an address is a member's that has answered."""
        return self.table.is_proven(packed_of(address))

    def set_keys(self, keys: Sequence[bytes]) -> None:
        """Use these keys from now on, the first to encrypt. InvalidArgument, and no change, for none or bad ones."""
        if tuple(keys) != self._outbox.keyring.keys:
            self._outbox.keyring = Keyring(keys, self._random_bytes)

    def call(self, places: Sequence[Place], now: float) -> None:
        """Exchange all that is known with whoever is at these addresses and ports, once."""
        for place in places:
            if place not in self._exchanges.values():
                self._exchange(place, join=True, now=now)

    def send(self, name: str, message: bytes, reliable: bool) -> bool:
        """Send a member's delegate a message: by TCP, or in one datagram. False: no such member, or it is too long.

        True does not say that it arrives.
        """
        record = self.table.get(name)
        if record is None:
            return False
        if not reliable:
            return self._outbox.send_user(text_of(record.address), record.port, message)
        data = framing.user_stream(message)
        if len(data) > framing.MAX_STREAM - OVERHEAD or self._is_busy():
            return False
        self._others.add(self._ask(record.member().address, record.port, data, answered=False))
        return True

    def tell(self, name: str, message: bytes, number: int, now: float) -> None:
        """Send a member's delegate a message; ours hears by `confirmed` that it arrived, or that no such member lives.

        Where neither is heard it was lost.
        """
        self._confirming.tell(name, message, number, now, may_stream=not self._is_busy())

    def take_owed(self) -> list[Owed]:
        """Return the pings that came behind a user's message since the last call, if `acks_when_done`."""
        return self._confirming.take_owed()

    def acknowledge(self, owed: Sequence[Owed], now: float) -> None:
        """Answer these pings: what came before them was acted upon."""
        for ping, source in owed:
            self._prober.handle_ping(ping, source, now)

    def leave(self, now: float) -> None:
        """Begin to say that this node leaves: `has_left` says when that is done. May be repeated."""
        if self._leave_by is None:
            self._leave_by = now + self.config.leave_timeout
            self.table.leave(now)

    def has_left(self, now: float) -> bool:
        """Return whether enough others were told that this node leaves, or there is no more time, or nobody to tell."""
        if self._leave_by is None:
            return False
        return now >= self._leave_by or self.table.living <= 1 or self.name not in self._broadcasts

    def take_commands(self) -> list[Command]:
        """Return what is to be done, and was not returned before."""
        return self._outbox.take()

    def next_at(self) -> float:
        """Return when `tick` has something to do."""
        times = [self._gossip_at, self._push_pull_at]
        if not self.table.is_leaving:
            times.append(self._prober.next_at())
        expiry = self.table.next_expiry()
        return min(times if expiry is None else [*times, expiry])

    def tick(self, now: float) -> None:
        """Do whatever is due."""
        self._outbox.members = len(self.table)
        self.table.expire(now)
        if not self.table.is_leaving:
            self._prober.tick(now)
        if now >= self._gossip_at:
            self._gossip_at = now + self.config.gossip_interval
            self._gossip(now)
        if now >= self._push_pull_at:
            self._push_pull_at = now + pushpull.interval(self.config.push_pull_interval, len(self.table))
            for record in self.table.pick(1, lambda record: record.state == State.ALIVE):
                self._exchange((text_of(record.address), record.port), join=False, now=now)

    def _gossip(self, now: float) -> None:
        horizon = now - self.config.gossip_to_the_dead

        def listens(record: Record) -> bool:
            return record.state in (State.ALIVE, State.SUSPECT) or (
                record.state == State.DEAD and record.changed_at > horizon
            )

        for record in self.table.pick(self.config.gossip_nodes, listens):
            if not self._outbox.gossip(text_of(record.address), record.port, now):
                return

    def handle_packet(self, data: bytes, source: Place, now: float) -> bool:
        """Take in a datagram; False where it is not encrypted with a key of ours."""
        try:
            packet = framing.open_datagram(self.keyring, data)
        except InvalidArgument as error:
            self._outbox.note("datagram", f"a datagram of {source[0]} is ignored: {error}")
            return False
        self._outbox.members = len(self.table)
        try:
            parts = framing.unpack(packet)
        except InvalidArgument as error:
            self._outbox.note("packet", f"a datagram of {source[0]} makes no sense: {error}")
            return True
        told = False
        questions = 0
        for part in parts:
            if part[0] in (Kind.PING, Kind.INDIRECT_PING):
                questions += 1
                if questions > MAX_QUESTIONS:
                    if questions == MAX_QUESTIONS + 1:
                        self._outbox.note("questions", f"a datagram of {source[0]} asks too much")
                    continue
            if part[0] == Kind.USER:
                self.delegate.heard(part[1:], now)
                told = True
                continue
            try:
                message = decode(part)
                if told and self.config.acks_when_done and isinstance(message, Ping):
                    self._confirming.owe(message, source)
                else:
                    self._handle(message, source, now)
            except InvalidArgument as error:
                self._outbox.note("message", f"a message of {source[0]} makes no sense: {error}")
        return True

    def _handle(
        self, message: Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive, source: Place, now: float
    ) -> None:
        if isinstance(message, Ack):
            self._prober.handle_ack(message.seq, now)
            self._confirming.handle_ack(message.seq, now)
        elif isinstance(message, Ping):
            self._prober.handle_ping(message, source, now)
        elif isinstance(message, IndirectPing):
            self._prober.handle_indirect_ping(message, source, now)
        elif isinstance(message, Nack):
            self._prober.handle_nack(message.seq, source)
        elif isinstance(message, Alive):
            self.table.handle_alive(message, now)
        elif isinstance(message, Suspect):
            self.table.handle_suspect(message, now)
        else:
            self.table.handle_dead(message, now)

    def answer(self, said: Said, source: Place, now: float) -> bytes:
        """Take in what a peer's stream says; the bytes to answer with, none where there is no answer."""
        self._outbox.members = len(self.table)
        if isinstance(said, PushPull):
            # Ours first: what the peer told is not told back.
            answer = pushpull.write(self.table, self.delegate.local_state(said.join, now), join=said.join)
            self._merge(said, source[0], now)
            return self._seal(answer)
        if isinstance(said, UserMessage):
            self.delegate.heard(said.message, now)
        elif isinstance(said, Ping):
            if said.node in ("", self.name):
                return self._seal(encode(Ack(said.seq)))
            self._outbox.note("ping", f"a ping for another node came here, for {said.node!a}")
        elif isinstance(said, PeerError):
            self._outbox.note("error", f"{source[0]} says that something went wrong: {said.text}")
        return b""

    def handle_answer(self, number: int, said: Said, now: float) -> None:
        """Take in what was answered on a stream that was opened."""
        place = self._exchanges.pop(number, None)
        if place is not None and isinstance(said, PushPull):
            self._merge(said, place[0], now)
        elif not self._prober.handle_stream(number, said.seq if isinstance(said, Ack) else None, now):
            text = said.text if isinstance(said, PeerError) else "an answer to something else"
            self._outbox.note("answer", f"a peer answered {text}")

    def handle_failure(self, number: int, reason: str, now: float) -> None:
        """Take in that a stream could not be opened, or was not answered."""
        place = self._exchanges.pop(number, None)
        if place is not None:
            self._outbox.note("exchange", f"{place[0]} could not be asked for its members: {reason}")
        elif number in self._others or self._confirming.handle_stream(number, now, done=False):
            self._others.discard(number)
            self._outbox.note("stream", f"a message could not be sent by TCP: {reason}")
        else:
            self._prober.handle_stream(number, None, now)

    def handle_done(self, number: int, now: float) -> None:
        """Take in that a stream without an answer was read by the other side."""
        self._others.discard(number)
        self._confirming.handle_stream(number, now, done=True)

    def _merge(self, told: PushPull, address: str, now: float) -> None:
        if told.skipped:
            self._outbox.note("skipped", f"{address} lists {told.skipped} members that make no sense")
        pushpull.merge(self.table, told, now)
        # A stream proves more than a datagram: nobody else answers at that address.
        self.table.prove_address(packed_of(address))
        if told.state:
            self.delegate.merge_state(told.state, told.join, now)

    def _exchange(self, place: Place, *, join: bool, now: float) -> None:
        if not self._is_busy():
            message = pushpull.write(self.table, self.delegate.local_state(join, now), join=join)
            self._exchanges[self._ask(*place, message, answered=True)] = place

    def _is_busy(self) -> bool:
        return len(self._exchanges) + len(self._others) + len(self._confirming) >= MAX_STREAMS

    def _ask(self, address: str, port: int, message: bytes, *, answered: bool) -> int:
        return self._outbox.ask(address, port, message, answered=answered, timeout=self.config.stream_timeout)

    def _seal(self, message: bytes) -> bytes:
        return framing.seal_stream(self.keyring, message)
