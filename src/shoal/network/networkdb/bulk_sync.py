"""Bulk syncs: with whom and when this node compares all entries of its networks, what it answers, how it takes many.

A sync goes both ways: the one says all that it has of the networks, the other answers with the same. It mends whatever
gossip lost. Source: libnetwork networkdb/cluster.go and networkdb.go (gossip.md 2.7), but for what constants say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from shoal.network.networkdb import messages
from shoal.network.networkdb.allowance import Allowance
from shoal.network.networkdb.tables import Tables, say

if TYPE_CHECKING:
    from random import Random

EVERY = 30.0
# Docker asks every node of a network that it joins, one after the other. Three know what all know.
JOINING_ASKS = 3
TRIES = 2  # partners in a round, if the first does not answer
# Docker waits 30 s, and holds up the container meanwhile. We do not wait; who takes longer is taken for silent.
ANSWER_WITHIN = 10.0
MOST_FIRST = 3  # nodes that are to be asked before others, of one network
BUSY = 0.5  # until a partner is looked for again when all are being asked about other networks
# A stream carries 20 MiB. What is longer is told in several messages.
CHUNK = 4 * 1024 * 1024
# A bulk sync of everybody costs its size. Who asks faster is answered later, and once for several questions.
ANSWERS_PER_SECOND = 2.0
ANSWERS_AT_ONCE = 8
# Of a long message so many parts are taken at once, some 10 ms; the others after what else is to be done.
SLICE = 500
MOST_WAITING = 32 * 1024 * 1024  # bytes of parts that wait; a message beyond is refused, and its like comes in 30 s


# Returns an active node of a network that is accepted.
Choose = Callable[[str, Callable[[str], bool]], "str | None"]


def payloads(tables: Tables, networks: Iterable[str], now: float) -> list[bytes]:
    """Return all entries of these networks as compounds of bounded size; at least one, which may be empty."""
    chunks: list[bytes] = []
    said: list[bytes] = []
    size = 0
    for network in networks:
        for key, entry in tables.of(network):
            event = say(network, key, entry, now)
            if size + len(event) > CHUNK and said:
                chunks.append(messages.compound(said))
                said, size = [], 0
            said.append(event)
            size += len(event)
    chunks.append(messages.compound(said))
    return chunks


@dataclass(slots=True)
class _Round:
    """A network's syncs until it is left alone for half a minute."""

    due: float
    wanted: int = 1
    asked: set[str] = field(default_factory=set)
    failed: int = 0
    first: dict[str, None] = field(default_factory=dict)  # who is asked before others


@dataclass(slots=True)
class _Request:
    networks: list[str]
    l_time: int
    until: float


class Rounds:
    """Whom to ask, and when. Networks that have nobody else on them wait until somebody comes."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._rounds: dict[str, _Round] = {}
        self._lonely: set[str] = set()
        self._joining: set[str] = set()
        self._requests: dict[str, _Request] = {}
        self._next: float | None = None  # None: something has changed, look again

    def joined(self, network: str, now: float) -> None:
        """Begin with a network."""
        self._next = None
        self._rounds[network] = _Round(now, JOINING_ASKS)
        self._joining.add(network)

    def left(self, network: str) -> None:
        """Have done with a network."""
        self._next = None
        self._rounds.pop(network, None)
        self._lonely.discard(network)
        self._joining.discard(network)

    def in_sync(self, network: str) -> bool:
        """Whether the first round is over, well or badly."""
        return network not in self._joining

    def appeared(self, network: str, now: float) -> None:
        """Note that another node is on a network."""
        if network in self._lonely:
            self._next = None
            self._lonely.discard(network)
            self._rounds[network] = _Round(now + self._rng.uniform(0.1, 0.5), JOINING_ASKS)

    def soon(self, network: str, node: str, at: float) -> None:
        """Sync with this node before the half minute is over."""
        self.appeared(network, at)
        found = self._rounds.get(network)
        if found is not None:
            self._next = None
            if len(found.first) < MOST_FIRST:
                found.first[node] = None
            found.due = min(found.due, at)

    def gone(self, node: str, now: float) -> None:
        """Wait no longer for a node's answer."""
        request = self._requests.pop(node, None)
        if request is not None:
            self._next = None
            self._failed(request, now)

    def next(self) -> float:
        """Return when `begin` is to be called."""
        if self._next is None:
            busy = self._busy()
            times = [found.due for network, found in self._rounds.items() if network not in busy]
            times += [request.until for request in self._requests.values()]
            self._next = min(times, default=float("inf"))
        return self._next

    def begin(
        self,
        now: float,
        choose: Choose,
        common: Callable[[str], list[str]],
    ) -> Iterator[tuple[str, list[str]]]:
        """Yield whom to ask now, and about which networks; `asked` is to be called for each.

        `common`: our networks that a node is on.
        """
        for node, request in list(self._requests.items()):
            if request.until <= now:
                self.gone(node, now)
        if self.next() > now:
            return
        self._next = None
        for network, found in list(self._rounds.items()):
            if found.due > now or network in self._busy():
                continue
            partner = self._partner(network, found, choose)
            if partner is not None:
                found.first.pop(partner, None)
                found.asked.add(partner)
                yield partner, common(partner)
            elif found.wanted > 0 and self._is_busy(network, found, choose):
                found.due = now + BUSY
            elif found.asked or found.wanted <= 0:
                self._finish(network, now)
            else:
                del self._rounds[network]
                self._lonely.add(network)
                self._joining.discard(network)

    def _partner(self, network: str, found: _Round, choose: Choose) -> str | None:
        node: str | None = None
        if found.first:
            node = choose(network, lambda name: name in found.first and name not in self._requests)
        if node is None:
            found.first.clear()  # they are gone again, or asked already
            if found.wanted > 0:
                node = choose(network, lambda name: name not in found.asked and name not in self._requests)
        return node

    def _is_busy(self, network: str, found: _Round, choose: Choose) -> bool:
        """Whether there is somebody to ask once he has answered something else."""
        return choose(network, lambda name: name not in found.asked) is not None

    def asked(self, node: str, networks: list[str], l_time: int, now: float) -> None:
        """Note that a node was asked."""
        self._next = None
        self._requests[node] = _Request(networks, l_time, now + ANSWER_WITHIN)

    def heard(self, node: str, l_time: int, unsolicited: bool, now: float) -> None:
        """Take a bulk sync of a node as its answer, if one is awaited."""
        request = self._requests.get(node)
        # Up to Docker 29.5 the flag says it, from 29.6 on the time.
        if request is None or (unsolicited and l_time <= request.l_time):
            return
        self._next = None
        del self._requests[node]
        for network in request.networks:
            found = self._rounds.get(network)
            if found is None:
                continue
            found.asked.add(node)
            found.first.pop(node, None)
            found.wanted -= 1
            if found.wanted <= 0 and not found.first:
                self._finish(network, now)

    def _failed(self, request: _Request, now: float) -> None:
        for network in request.networks:
            found = self._rounds.get(network)
            if found is not None and found.due <= now:
                found.failed += 1
                if found.failed >= TRIES:
                    self._finish(network, now)

    def _finish(self, network: str, now: float) -> None:
        self._rounds[network] = _Round(now + EVERY * self._rng.uniform(0.8, 1.0))
        self._joining.discard(network)

    def _busy(self) -> set[str]:
        return {network for request in self._requests.values() for network in request.networks}


class Answers:
    """Who is to be answered about which networks."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, None]] = {}
        self._allowances: dict[str, Allowance] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def asked(self, node: str, networks: Iterable[str]) -> None:
        """Note a question."""
        self._waiting.setdefault(node, {}).update(dict.fromkeys(networks))

    def gone(self, node: str) -> None:
        """Forget a node that is not there to hear."""
        self._waiting.pop(node, None)
        self._allowances.pop(node, None)

    def due(self, now: float) -> list[tuple[str, list[str]]]:
        """Return who is to be answered now."""
        found = []
        for node, networks in list(self._waiting.items()):
            allowance = self._allowances.setdefault(node, Allowance(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE))
            if allowance.take(now):
                found.append((node, list(networks)))
                del self._waiting[node]
        return found

    def tidy(self, now: float) -> None:
        """Forget who has not asked lately."""
        for node in [node for node, allowance in self._allowances.items() if allowance.full(now)]:
            del self._allowances[node]


class Backlog:
    """Parts of long messages that wait for their turn."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Iterator[bytes], int, bool]] = deque()
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, parts: list[bytes], bulk: bool) -> bool:
        """Take the parts of a compound; False if too much waits."""
        size = sum(map(len, parts)) + 64 * len(parts)
        if self.bytes + size > MOST_WAITING:
            return False
        self.bytes += size
        self._waiting.append((iter(parts), size, bulk))
        return True

    def take(self) -> list[tuple[bytes, bool]]:
        """Return the next parts, and whether each came by a bulk sync."""
        taken: list[tuple[bytes, bool]] = []
        while self._waiting and len(taken) < SLICE:
            parts, size, bulk = self._waiting[0]
            room = SLICE - len(taken)
            some = list(islice(parts, room))
            taken += [(part, bulk) for part in some]
            if len(some) < room:
                self._waiting.popleft()
                self.bytes -= size
        return taken
