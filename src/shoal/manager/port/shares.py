"""Shares the loop among those who send to port 2377, so that none of them keeps it from anything else.

In: peers whose bytes wait to be read. Out: each is told to read a little, in turns; a turn of the loop reads for a few
milliseconds at most. Each party (a node, a host of strangers) has a share of the time, all strangers together another;
who has used his up waits until some has come in again, and sends nothing more meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from shoal.manager.port.allowances import STRANGERS_TIME, Bucket, Rate

# Bytes between managers' etcds, and every answer of the API, wait for the end of a turn.
TURN_SECONDS = 0.004
# Parties that have gone, so that nobody is forgiven what he owes by connecting again.
REMEMBERED = 1000


class Reader(Protocol):
    """A peer whose bytes wait."""

    def read_some(self) -> tuple[bool, float]:
        """Act on a little of what waits. Return whether more does, and how many seconds will follow from it."""


class Party:
    """Those who share one share: the connections of one node, or of one host of strangers."""

    def __init__(self, *shares: Bucket) -> None:
        self.shares = shares
        self.waiting: dict[Reader, None] = {}
        self.members = 0

    def wait(self, now: float) -> float:
        """Return for how many seconds this party has no time."""
        return max(share.wait(now) for share in self.shares)


class Shares:
    """Gives everybody a turn. `spent` returns the processor time that this thread has used, in seconds."""

    def __init__(self, spent: Callable[[], float] = time.thread_time) -> None:
        self._spent = spent
        self._parties: dict[Hashable, Party] = {}
        self._gone: dict[Hashable, None] = {}  # parties without a member, which still owe what they owe
        self._ready: dict[Party, None] = {}  # whose connections wait, the next one first
        self._strangers = Bucket(STRANGERS_TIME)
        self._left = TURN_SECONDS
        self._turning = False
        self._later: asyncio.TimerHandle | None = None

    def enter(self, name: Hashable, rate: Rate, *, stranger: bool) -> Party:
        """Return the party of a new connection; `leave` is to follow."""
        party = self._parties.get(name)
        if party is None:
            own = Bucket(rate, asyncio.get_running_loop().time())
            party = self._parties[name] = Party(own, self._strangers) if stranger else Party(own)
        self._gone.pop(name, None)
        party.members += 1
        return party

    def leave(self, name: Hashable, reader: Reader) -> None:
        """Forget a connection. Who connects again still owes what he owes."""
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
        """Let a peer read: at once where it has time and this turn too, and else later."""
        party.waiting[reader] = None
        self._ready[party] = None
        now = asyncio.get_running_loop().time()
        if self._left > 0 and party.wait(now) <= 0:
            self._one(party, now)
        self._go_on_later(now)

    def _one(self, party: Party, now: float) -> None:
        """Let the next connection of a party read a little, and put both at the end."""
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
        """Read as long as there is somebody with time, and time in this turn."""
        loop = asyncio.get_running_loop()
        passed: list[Party] = []  # those that have none
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
        """See to it that there is another turn if anybody waits, or this one has been used."""
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
