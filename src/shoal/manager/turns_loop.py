"""Spreads work that comes all at once over turns of the event loop, so that others have theirs in between.

In: whoever wants to go on. Out: at most so many of them in one turn, in the order in which they came. A loop answers
nothing, and passes on no byte between managers' etcds, until a turn is over: a thousand nodes that call at the same
moment would make one that is longer than an election.
"""

import asyncio
from collections import deque

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
