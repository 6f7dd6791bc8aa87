"""The table of members, and what becomes of it when somebody says that one is alive, suspect or dead.

Pure. Each change is told to the delegate and passed on to others. Bounded: whoever has a key can name as many members
as he likes, so that one which has never answered, or is gone, makes room for a new one; one that answers never does.
Source: gossip.md 1.9.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from shoal.network.gossip.delegate import Listener, Member, State
from shoal.network.gossip.messages import Alive, Dead, Suspect, encode
from shoal.network.gossip.suspicion import Suspicion

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator

    from shoal.network.gossip.awareness import Awareness
    from shoal.network.gossip.broadcasts import Broadcasts
    from shoal.network.gossip.config import Config

# Lowest, highest and spoken version of memberlist's protocol, and the same of the delegate's.
VERSIONS = bytes((1, 5, 2, 0, 0, 0))
_LAST_INCARNATION = (1 << 32) - 1
_FEW = 32  # members, up to which a random choice looks at all
_SPARE = 64  # names in the order of probing that may be of nobody, before it is made anew


def is_compatible(versions: bytes) -> bool:
    """Return whether a node of these versions and we understand each other.

    Only such ones are kept, and so passed on: with another in the list, Docker Engines refuse a whole push/pull, and
    with versions of another length they crash.
    """
    if len(versions) != len(VERSIONS):
        return False
    lowest, highest, current, delegate_lowest, _, delegate_current = versions
    return 0 < lowest <= VERSIONS[2] <= highest and (
        max(lowest, VERSIONS[0]) <= current <= min(highest, VERSIONS[1]) and delegate_lowest == delegate_current == 0
    )


@lru_cache(4096)
def text_of(packed: bytes) -> str:
    """Return a packed address as text."""
    return str(ipaddress.ip_address(packed))


def packed_of(text: str) -> bytes:
    """Return an address as it is on the wire: IPv4 in four bytes, however a socket writes it. Empty: it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return b""
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


@dataclass(slots=True)
class Record:
    """What is known of one member. `answered`: it answered us once, so that it is none that somebody made up."""

    name: str
    address: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int
    state: State
    changed_at: float
    answered: bool = False
    suspicion: Suspicion | None = None
    # The member as the push/pull lists it; made when it is first needed.
    listed: bytes = field(default=b"", repr=False)

    def member(self) -> Member:
        """Return the member as others see it."""
        return Member(self.name, text_of(self.address), self.port, self.state, self.answered)


class Members:
    """The table. This node itself is always in it."""

    def __init__(
        self,
        config: Config,
        listener: Listener,
        rng: random.Random,
        awareness: Awareness,
        broadcasts: Broadcasts,
        note: Callable[[str, str], None],
        now: float,
    ) -> None:
        self._config = config
        self._listener = listener
        self._rng = rng
        self._awareness = awareness
        self._broadcasts = broadcasts
        self._note = note
        address = ipaddress.ip_address(config.address).packed
        self.me = Record(config.name, address, config.port, b"", VERSIONS, 1, State.ALIVE, now, answered=True)
        self._records = {config.name: self.me}
        self.order: list[str] = [config.name]
        """Whom to probe, one after another. It may name some that are gone."""
        self._suspects: set[str] = set()
        # Who answered, by address. One a place, as two nodes cannot share one: else whoever answers for 10,000 names
        # would fill the table for good.
        self._proven: dict[bytes, str] = {}
        self._unproven: dict[str, None] = {}  # never answered, the oldest first
        self._gone: dict[str, None] = {}  # dead or left, the longest gone first
        self.is_leaving = False
        self.counts: Counter[str] = Counter()  # suspected, dead, left, refuted: since the start
        self._broadcasts.queue(config.name, encode(self._alive(self.me)))

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    @property
    def living(self) -> int:
        """How many are alive, or only suspect; this node counts."""
        return len(self._records) - len(self._gone)

    def get(self, name: str) -> Record | None:
        """Return what is known of a member."""
        return self._records.get(name)

    def pick(self, count: int, wanted: Callable[[Record], bool]) -> list[Record]:
        """Return up to `count` random others that are `wanted`. Looks at only so many that it stays quick."""
        names = self.order
        few = len(names) <= _FEW
        found: dict[str, Record] = {}
        for name in self._rng.sample(names, len(names) if few else min(len(names), 30 * count)):
            record = self._records.get(name)
            if record is not None and record is not self.me and wanted(record):
                found[record.name] = record
                if len(found) == count:
                    break
        return list(found.values())

    def handle_alive(self, alive: Alive, now: float) -> None:
        """Take in that somebody says: this one is alive."""
        if alive.node == self.me.name:
            self._handle_alive_self(alive, now)
            return
        record = self._records.get(alive.node)
        moved = record is not None and (record.address, record.port) != (alive.address, alive.port)
        if record is not None and alive.incarnation <= record.incarnation and not moved:
            return  # the most frequent: what is spread is heard again and again
        if not is_compatible(alive.versions):
            self._note("versions", f"a member speaks another protocol and is ignored: {alive.node!a}")
            return
        if record is None:
            self._add(alive, now)
            return
        if moved and record.state != State.LEFT:
            self._note("address", f"a member is said to be at another address, which is ignored: {alive.node!a}")
            return
        if moved:
            self._unprove(record)
            record.answered = False
            self._unproven[record.name] = None
        updated = moved or record.meta != alive.meta
        record.address, record.port = alive.address, alive.port
        record.meta, record.versions = alive.meta, alive.versions
        returned = record.state in (State.DEAD, State.LEFT)
        self._set(record, State.ALIVE, alive.incarnation, now)
        self._broadcasts.queue(record.name, encode(alive))
        if returned:
            self._gone.pop(record.name, None)
            self._listener.member_joined(record.member(), now)
        elif updated:
            self._listener.member_updated(record.member(), now)

    def _handle_alive_self(self, alive: Alive, now: float) -> None:
        me = self.me
        if self.is_leaving or alive.incarnation < me.incarnation:
            return
        if (alive.address, alive.port) != (me.address, me.port):
            self._note("name", f"another node has this one's name, {me.name!a}")
            return
        same = (alive.meta, alive.versions) == (me.meta, me.versions)
        if not (same and alive.incarnation == me.incarnation):
            self._refute(alive.incarnation, now)

    def _add(self, alive: Alive, now: float) -> None:
        if len(self._records) >= self._config.max_members and not self._make_room(now):
            self._note("full", f"there are {len(self._records)} members, and no room for more")
            return
        name = alive.node
        record = Record(
            name, alive.address, alive.port, alive.meta, alive.versions, alive.incarnation, State.ALIVE, now
        )
        self._records[name] = record
        self._unproven[name] = None
        if len(self.order) > 2 * len(self._records) + _SPARE:
            self.shuffle()
        else:
            self.order.insert(self._rng.randrange(len(self.order) + 1), name)
        self._broadcasts.queue(name, encode(alive))
        self._listener.member_joined(record.member(), now)

    def _make_room(self, now: float) -> bool:
        for names in (self._gone, self._unproven):
            name = next(iter(names), None)
            if name is not None:
                self._forget(self._records[name], now)
                return True
        return False

    def _forget(self, record: Record, now: float) -> None:
        name = record.name
        del self._records[name]
        self._gone.pop(name, None)
        self._unproven.pop(name, None)
        self._unprove(record)
        self._suspects.discard(name)
        self._broadcasts.drop(name)
        if record.state in (State.ALIVE, State.SUSPECT):
            record.state = State.LEFT
            self._listener.member_left(record.member(), now)

    def _unprove(self, record: Record) -> None:
        if self._proven.get(record.address) == record.name:
            del self._proven[record.address]

    def handle_suspect(self, suspect: Suspect, now: float) -> None:
        """Take in that somebody says: this one is silent."""
        record = self._records.get(suspect.node)
        if record is None or suspect.incarnation < record.incarnation:
            return
        if record.suspicion is not None:
            if record.suspicion.confirm(suspect.sender):
                self._broadcasts.queue(record.name, encode(suspect))
            return
        if record.state != State.ALIVE:
            return
        if record is self.me:
            self._refute(suspect.incarnation, now)
            return
        self.counts["suspected"] += 1
        self._set(record, State.SUSPECT, suspect.incarnation, now)
        record.suspicion = Suspicion(suspect.sender, len(self), self._config.probe_interval, now)
        self._suspects.add(record.name)
        self._broadcasts.queue(record.name, encode(suspect))

    def handle_dead(self, dead: Dead, now: float) -> None:
        """Take in that somebody says: this one is dead; or one itself that it leaves."""
        record = self._records.get(dead.node)
        if record is None or dead.incarnation < record.incarnation or record.state in (State.DEAD, State.LEFT):
            return
        if record is self.me and not self.is_leaving:
            self._refute(dead.incarnation, now)
            return
        state = State.LEFT if dead.sender == dead.node else State.DEAD
        self._set(record, state, dead.incarnation, now)
        self._broadcasts.queue(record.name, encode(dead))
        if record is self.me:
            return
        self._gone[record.name] = None
        self.counts["left" if state == State.LEFT else "dead"] += 1
        if state == State.LEFT:
            self._listener.member_left(record.member(), now)
        else:
            self._listener.member_failed(record.member(), now)

    def suspect(self, record: Record, now: float) -> None:
        """Suspect a member that did not answer this node."""
        self.handle_suspect(Suspect(record.incarnation, record.name, self.me.name), now)

    def prove(self, record: Record) -> None:
        """Remember that a member has answered."""
        if record.answered:
            return
        former = self._records.get(self._proven.get(record.address, ""))
        if former is not None and former is not self.me:
            former.answered = False
            self._unproven[former.name] = None
        record.answered = True
        self._proven[record.address] = record.name
        self._unproven.pop(record.name, None)

    def prove_address(self, address: bytes) -> None:
        """Remember that somebody answers at an address, where nobody has before."""
        if address not in self._proven:
            for record in list(self._records.values()):
                if record.address == address:
                    self.prove(record)
                    return

    def is_proven(self, address: bytes) -> bool:
        """Return whether a member has answered at this address."""
        return address in self._proven

    def leave(self, now: float) -> None:
        """Have it said that this node leaves."""
        self.is_leaving = True
        self.handle_dead(Dead(self.me.incarnation, self.me.name, self.me.name), now)

    def expire(self, now: float) -> None:
        """Take those for dead that were suspect for long enough."""
        for name in list(self._suspects):
            record = self._records[name]
            if record.suspicion is not None and record.suspicion.ends_at <= now:
                self.handle_dead(Dead(record.incarnation, name, self.me.name), now)

    def next_expiry(self) -> float | None:
        """Return when `expire` has something to do."""
        return min((s.ends_at for s in self._suspicions()), default=None)

    def _suspicions(self) -> Iterable[Suspicion]:
        return (s for name in self._suspects if (s := self._records[name].suspicion) is not None)

    def reap(self, now: float) -> None:
        """Forget those who have been gone for long, and shuffle the order of probing."""
        for name in list(self._gone):
            record = self._records[name]
            if now - record.changed_at > self._config.gossip_to_the_dead:
                self._forget(record, now)
        self.shuffle()

    def shuffle(self) -> None:
        """Make the order of probing anew."""
        self.order = list(self._records)
        self._rng.shuffle(self.order)

    def _set(self, record: Record, state: State, incarnation: int, now: float) -> None:
        if record.state != state:
            record.changed_at = now
        record.state, record.incarnation, record.suspicion, record.listed = state, incarnation, None, b""
        self._suspects.discard(record.name)

    def _refute(self, accused: int, now: float) -> None:
        # Whoever has a key may accuse with the highest number that there is: nothing is left to answer then.
        self.me.incarnation = min(max(self.me.incarnation, accused) + 1, _LAST_INCARNATION)
        self.me.listed = b""
        self.counts["refuted"] += 1
        self._awareness.add(1)
        self._broadcasts.queue(self.me.name, encode(self._alive(self.me)))

    @staticmethod
    def _alive(record: Record) -> Alive:
        return Alive(record.incarnation, record.name, record.address, record.port, record.meta, record.versions)
