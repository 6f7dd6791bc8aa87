"""The daemon itself: `/_ping`, `/version`, `/info`, `/system/df`."""

from aiohttp import web

from shoal.engine.requests import Call


def swarm_status(call: Call) -> str:
    """Return the `Swarm` header of a ping: the local state, and for a member of a swarm its role."""
    info = call.backend.node.info()
    if info.local_state != "active":
        return info.local_state.value
    return "active/manager" if info.control_available else "active/worker"


async def ping(call: Call) -> web.Response:
    """Answer that the daemon lives."""
    headers = {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Builder-Version": "1",
        "Swarm": swarm_status(call),
        "Content-Type": "text/plain; charset=utf-8",
    }
    return web.Response(body=b"" if call.http.method == "HEAD" else b"OK", headers=headers)


ROUTES = [
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
]
