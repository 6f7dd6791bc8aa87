"""Ends the unfinished calls of a server that stops: they get a little time, then they are cancelled.

aiohttp would wait for them too. But if a call ends in the same turn of the event loop in which its time runs out,
aiohttp fails with InvalidStateError and a traceback. So this module leaves no calls for it; what still cleans up after
all that, aiohttp cancels once more and waits for in the other way that it has, which does not fail.
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

_Connections = weakref.WeakKeyDictionary[asyncio.Task[Any], web.RequestHandler]
_CONNECTIONS: web.AppKey[_Connections] = web.AppKey("connections", weakref.WeakKeyDictionary)


def watch(app: web.Application) -> None:
    """Let an application end its calls at shutdown, after the functions that are already in `on_shutdown`."""
    app[_CONNECTIONS] = weakref.WeakKeyDictionary()
    app.middlewares.append(_noted)
    app.on_shutdown.append(_end)


@web.middleware
async def _noted(request: web.Request, handler: Handler) -> web.StreamResponse:
    request.app[_CONNECTIONS][request.task] = request.protocol
    return await handler(request)


async def _end(app: web.Application) -> None:
    """Wait for the connections' tasks, which aiohttp has told to take no further call."""
    for cancel, patience in ((False, SHUTDOWN_TIMEOUT), (True, CLEAN_UP_TIMEOUT)):
        open_ones = _open(app)
        if not open_ones:
            return
        if cancel:
            for connection in open_ones:
                connection.cancel()
        await asyncio.wait(open_ones, timeout=patience)
    for connection in _open(app):
        app[_CONNECTIONS][connection]._request_in_progress = False  # so that aiohttp makes no future that may be done


def _open(app: web.Application) -> set[asyncio.Task[Any]]:
    return {connection for connection in app[_CONNECTIONS] if not connection.done()}
