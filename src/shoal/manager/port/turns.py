"""Spreads work that comes all at once over turns of the event loop, so that other work runs in between.

In: coroutines that want to go on. Out: a limited number of them goes on in each turn, in order. Everything else on the
loop waits until a turn is over, and a thousand nodes that call at the same moment would make a very long turn.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# A call of a node takes about 0.3 ms, so a turn takes some 15 ms.
CALLS_A_TURN = 50


class Turns:
    """Lets `limit` callers go on in each turn of the loop. Costs nothing at rest."""

    def __init__(self, limit: int = CALLS_A_TURN) -> None:
        self._limit = limit
        self._left = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False

    async def wait_turn(self) -> None:
        """Return at once if there is room in this turn, else in a later turn."""
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
            if not turn.done():  # done if the waiting caller was cancelled
                turn.set_result(None)
                self._left -= 1
        self._counting = self._left < self._limit or bool(self._waiting)
        if self._counting:
            loop.call_soon(self._next, loop)


class OneByOne:
    """Lets one caller go on at a time. Waiting hosts take turns, so a host with many callers only delays itself."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until no other caller is inside, and be inside while the context is open."""
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
