"""Answers for calls that Docker has and Shoal does not: JSON with the reason.

A list of things that Shoal does not have is empty, so that a client that lists everything does not fail.
"""

from aiohttp import web

from shoal.engine.replies import json_reply
from shoal.engine.requests import Call
from shoal.engine.router import Handler, Route
from shoal.errors import NotFound, Unimplemented


def _refuse(what: str) -> Handler:
    async def refuse(_: Call) -> web.StreamResponse:
        raise Unimplemented(f"{what} is not supported by this daemon")

    return refuse


async def no_plugins(_: Call) -> web.StreamResponse:
    """GET /plugins: an empty list."""
    return json_reply([])


async def no_plugin(call: Call) -> web.StreamResponse:
    """Answer every call that names a plugin: it is not found."""
    raise NotFound(f'plugin "{call.path["name"]}" not found')


_PLUGINS = _refuse("installing plugins")
_CHECKPOINTS = _refuse("checkpointing containers")

ROUTES: list[Route] = [
    ("POST", "/build/cancel", _refuse("building images")),
    ("POST", "/session", _refuse("the build session")),
    ("POST", "/grpc", _refuse("the build service")),
    ("GET", "/plugins", no_plugins),
    ("GET", "/plugins/privileges", _PLUGINS),
    ("POST", "/plugins/pull", _PLUGINS),
    ("POST", "/plugins/create", _PLUGINS),
    ("GET", "/plugins/{name:.*}/json", no_plugin),
    ("POST", "/plugins/{name:.*}/enable", no_plugin),
    ("POST", "/plugins/{name:.*}/disable", no_plugin),
    ("POST", "/plugins/{name:.*}/push", no_plugin),
    ("POST", "/plugins/{name:.*}/upgrade", no_plugin),
    ("POST", "/plugins/{name:.*}/set", no_plugin),
    ("DELETE", "/plugins/{name:.*}", no_plugin),
    ("GET", "/containers/{id}/checkpoints", _CHECKPOINTS),
    ("POST", "/containers/{id}/checkpoints", _CHECKPOINTS),
    ("DELETE", "/containers/{id}/checkpoints/{checkpoint}", _CHECKPOINTS),
]
