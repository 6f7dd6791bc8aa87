"""Spreads work that comes all at once over turns of the event loop, so that others have theirs in between.

In: whoever wants to go on. Out: at most so many of them in one turn, in the order in which they came. A loop answers
nothing, and passes on no byte between managers' etcds, until a turn is over: a thousand nodes that call at the same
moment would make one that is longer than an election.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# A call of a node takes 0.3 ms or so: some 15 ms a turn.
CALLS_A_TURN = 50


class Turns:
    """Lets `limit` pass in each turn of the loop. Costs nothing at rest."""

    def __init__(self, limit: int = CALLS_A_TURN) -> None:
        self._limit = limit
        self._left = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False

    async def wait_turn(self) -> None:
        """Return at once while there is room in this turn, and else in a later one."""
        loop = asyncio.get_running_loop()
        if not self._counting:
            self._counting = True
            loop.call_soon(self._next, loop)
        if self._left > 0:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._limit
        while self._waiting and self._left > 0:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited may have been cancelled
                turn.set_result(None)
                self._left -= 1
        self._counting = self._left < self._limit or bool(self._waiting)
        if self._counting:
            loop.call_soon(self._next, loop)


class OneByOne:
    """Lets one pass at a time; of those who wait each host by turns, so that one that sends many delays itself."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until nobody else is inside."""
        if self._busy:
            await self._wait(host)
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, host: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(host, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            host = next(iter(self._waiting))
            waiting = self._waiting.pop(host)
            turn = waiting.popleft()
            if waiting:
                self._waiting[host] = waiting  # at the end
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
