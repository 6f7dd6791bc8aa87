"""Ends the unfinished calls of a server that stops: they get a little time, then they are cancelled.

aiohttp would wait for them too. But if a call ends in the same turn of the event loop in which its time runs out,
aiohttp fails with InvalidStateError and a traceback. So this module leaves no calls for it.
"""

import asyncio
import weakref
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

# Seconds that unfinished calls get when the daemon stops.
SHUTDOWN_TIMEOUT = 1.0
# Seconds that they get to clean up after they were cancelled. Few need any, but a call may have to wait for a thread,
# which cannot be cancelled; the daemon would wait for that thread at its end anyway.
CLEAN_UP_TIMEOUT = 10.0

_CONNECTIONS: web.AppKey["weakref.WeakSet[asyncio.Task[Any]]"] = web.AppKey("connections", weakref.WeakSet)


def watch(app: web.Application) -> None:
    """Let an application end its calls at shutdown, after the functions that are already in `on_shutdown`."""
    app[_CONNECTIONS] = weakref.WeakSet()
    app.middlewares.append(_noted)
    app.on_shutdown.append(_end)


@web.middleware
async def _noted(request: web.Request, handler: Handler) -> web.StreamResponse:
    request.app[_CONNECTIONS].add(request.task)
    return await handler(request)


async def _end(app: web.Application) -> None:
    """Wait for the connections' tasks, which aiohttp has told to take no further call."""
    for cancel, patience in ((False, SHUTDOWN_TIMEOUT), (True, CLEAN_UP_TIMEOUT)):
        open_ones = {connection for connection in app[_CONNECTIONS] if not connection.done()}
        if not open_ones:
            return
        if cancel:
            for connection in open_ones:
                connection.cancel()
        await asyncio.wait(open_ones, timeout=patience)
