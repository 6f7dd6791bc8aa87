"""Shares the event loop among the peers of port 2377, so that no peer can block it.

In: peers whose bytes wait to be read. Out: peers read a little each, in turns; in one turn of the loop all together
read for a few milliseconds. Each party (a node, or a host of strangers) has a share of the time, and all strangers
together have another one. A party that has used up its share is not read from until it has some again.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from shoal.manager.port.allowances import STRANGERS_TIME, Bucket, Rate

# Everything else on the loop waits for the end of a turn.
TURN_SECONDS = 0.004
# Parties without connections that are remembered, so that nobody gets a new share by connecting again.
REMEMBERED = 1000


class Reader(Protocol):
    """A peer whose bytes wait to be read."""

    def read_some(self) -> tuple[bool, float]:
        """Read a little. Return whether more waits, and how many seconds of work will follow from what was read."""


class Party:
    """The connections that have a share together: those of one node, or of one host of strangers."""

    def __init__(self, *shares: Bucket) -> None:
        self.shares = shares
        self.waiting: dict[Reader, None] = {}
        self.members = 0

    def wait(self, now: float) -> float:
        """Return for how many seconds this party has no time left."""
        return max(share.wait(now) for share in self.shares)


class Shares:
    """Lets parties read in turns. `spent` returns the processor time that this thread has used, in seconds."""

    def __init__(self, spent: Callable[[], float] = time.thread_time) -> None:
        self._spent = spent
        self._parties: dict[Hashable, Party] = {}
        self._gone: dict[Hashable, None] = {}  # parties without connections, which keep their used-up share
        self._ready: dict[Party, None] = {}  # parties with waiting connections, the next one first
        self._strangers = Bucket(STRANGERS_TIME)
        self._left = TURN_SECONDS
        self._turning = False
        self._later: asyncio.TimerHandle | None = None

    def enter(self, name: Hashable, rate: Rate, *, stranger: bool) -> Party:
        """Return the party of a new connection. The caller must call `leave` at its end."""
        party = self._parties.get(name)
        if party is None:
            own = Bucket(rate, asyncio.get_running_loop().time())
            party = self._parties[name] = Party(own, self._strangers) if stranger else Party(own)
        self._gone.pop(name, None)
        party.members += 1
        return party

    def leave(self, name: Hashable, reader: Reader) -> None:
        """Remove a connection. Its party keeps its used-up share."""
        party = self._parties[name]
        party.waiting.pop(reader, None)
        if not party.waiting:
            self._ready.pop(party, None)
        party.members -= 1
        if not party.members:
            self._gone[name] = None
            if len(self._gone) > REMEMBERED:
                longest = next(iter(self._gone))
                del self._gone[longest], self._parties[longest]

    def read(self, party: Party, reader: Reader) -> None:
        """Let a peer read: now if its party and this turn have time left, else later."""
        party.waiting[reader] = None
        self._ready[party] = None
        now = asyncio.get_running_loop().time()
        if self._left > 0 and party.wait(now) <= 0:
            self._one(party, now)
        self._go_on_later(now)

    def _one(self, party: Party, now: float) -> None:
        """Let the next connection of a party read a little, then put both at the end of their queues."""
        reader = next(iter(party.waiting))
        del party.waiting[reader]
        del self._ready[party]
        before = self._spent()
        more, later = reader.read_some()
        cost = self._spent() - before
        self._left -= cost
        for share in party.shares:
            share.spend(cost + later, now)
        if more:
            party.waiting[reader] = None
        if party.waiting:
            self._ready[party] = None

    def _turn(self) -> None:
        """Read while a party has time left, and this turn has."""
        loop = asyncio.get_running_loop()
        passed: list[Party] = []  # parties without time
        while self._left > 0 and self._ready:
            party = next(iter(self._ready))
            if party.wait(loop.time()) <= 0:
                self._one(party, loop.time())
            else:
                del self._ready[party]
                passed.append(party)
        self._ready = dict.fromkeys(passed) | self._ready
        self._go_on_later(loop.time())

    def _go_on_later(self, now: float) -> None:
        """Schedule another turn if a party waits, or this turn's time was used."""
        if self._turning:
            return
        wait = min((party.wait(now) for party in self._ready), default=None)
        if self._left < TURN_SECONDS or wait == 0:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif wait is not None and self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self._next_turn)

    def _next_turn(self) -> None:
        self._turning = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._left = TURN_SECONDS
        self._turn()
