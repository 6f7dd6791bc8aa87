"""The Engine API as an aiohttp application: every request goes through `dispatch`, which finds the handler by our own
table, puts Docker's headers on the answer, and turns errors into JSON.

A resource is one module with a table `ROUTES`; adding one here is all that it needs.
"""

import asyncio
import itertools
import weakref
from collections.abc import Coroutine, Sequence
from types import ModuleType
from typing import Any

from aiohttp import web

from shoal.engine import (
    backup,
    configs,
    containers,
    errors,
    events,
    explain,
    images,
    last_calls,
    logs,
    network_views,
    networks,
    nodes,
    router,
    secrets,
    services,
    swarm,
    system,
    tasks,
    unsupported,
    volumes,
)
from shoal.engine import exec as execs
from shoal.engine.backend import Backend
from shoal.engine.requests import MAX_JSON_BYTES, Call
from shoal.engine.streams import OPEN_STREAMS
from shoal.errors import InvalidArgument, InvariantBroken

MODULES: tuple[ModuleType, ...] = (
    system,
    events,
    swarm,
    backup,
    nodes,
    services,
    tasks,
    explain,
    logs,
    secrets,
    configs,
    networks,
    network_views,
    containers,
    execs,
    images,
    volumes,
    unsupported,
)

# A client may keep its connection this long between two calls (seconds); Docker's CLI and docker-py do.
KEEPALIVE_TIMEOUT = 300.0


def make_app(backend: Backend, modules: Sequence[ModuleType] = MODULES) -> web.Application:
    """Return the application. Serve it with `make_runner`."""
    table = router.Router(list(itertools.chain.from_iterable(module.ROUTES for module in modules)))
    headers = {
        "Api-Version": f"1.{router.MAX_API}",
        "Docker-Experimental": str(backend.facts.experimental).lower(),
        "Ostype": "linux",
        "Server": f"Shoal/{backend.facts.version} (linux)",
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        version, path = router.split_version(request.path)
        found = table.find(request.method, path)
        if found is None:
            return errors.error_reply(404, "page not found")
        handler, parameters = found
        try:
            call = Call(request, backend, router.api_minor(version), parameters)
        except InvalidArgument as error:
            return errors.error_reply(400, str(error))
        return await handler(call)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        try:
            return await _told_apart(answer(request))
        except Exception as error:  # noqa: BLE001 - the one place that supervises calls: each failure becomes an answer
            if request.writer.output_size > 0:
                return errors.break_off(request, error)
            return errors.reply_for(error, request.method, request.path)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    app = web.Application(client_max_size=MAX_JSON_BYTES)
    # Matches every path, also one with an encoded newline. Otherwise aiohttp would answer, and not in JSON.
    app.router.add_route("*", "/{path:(?s:.*)}", dispatch)
    app[OPEN_STREAMS] = weakref.WeakSet()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    last_calls.watch(app)
    return app


async def _told_apart(answering: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
    """Turn a stray cancellation into an error, because aiohttp would close the connection without an answer."""
    try:
        return await answering
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        raise InvariantBroken("what a call waited for was cancelled, and the call was not") from error


async def _end_streams(app: web.Application) -> None:
    children = app[OPEN_STREAMS]
    for child in list(children):
        child.cancel()


def make_runner(app: web.Application) -> web.AppRunner:
    """Return a runner for the application, for sockets to be added to.

    A handler is cancelled when its client goes away: a follower of logs or events would otherwise stay for ever.
    """
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        handle_signals=False,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        shutdown_timeout=last_calls.SHUTDOWN_TIMEOUT,
    )
