"""Containers of this host: list, inspect, top, and the calls that act on one (kill, stop, remove).

Only tasks make containers for now; creating, starting and restarting one is refused.
"""

import asyncio
import re
import time
from typing import Any

from aiohttp import web

from shoal.engine import container_filters, container_inspect, container_json, container_streams
from shoal.engine.container_filters import ACCEPTED, TASK_LABEL, ImageFinder
from shoal.engine.moments import labels_match, until
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError, Unimplemented
from shoal.runtime.types import Container, Phase

# Seconds. A longer timeout of a client means none.
_FOREVER = 10**9
# Seconds that a SIGKILL may take before the call fails; moby waits as long.
_KILL_TIMEOUT = 10.0


async def list_containers(call: Call) -> web.StreamResponse:
    """GET /containers/json: running ones, newest first; all with `all`, `limit` or a filter on the status."""
    filters = call.filters(ACCEPTED)
    limit = call.integer("limit")
    images = ImageFinder(call.backend.images.get)
    everything = sorted(call.backend.containers.list(), key=lambda container: -container.created_at)
    found = container_filters.choose(
        everything, filters, images, call.backend.containers.get, stopped=call.flag("all") or limit > 0
    )
    if limit > 0:
        found = found[:limit]
    now, sized = time.time(), call.flag("size")
    return json_reply([container_row(container, now, images, sized=sized) for container in found])


def container_row(container: Container, now: float, images: ImageFinder, *, sized: bool) -> dict[str, Any]:
    """Return a container as a list shows it. With `sized`, its size on disk is included."""
    image = images.find(container.image_id)
    named = images.find(container.config.image)
    # As in Docker, the id is shown if the name means no image, or another one by now.
    renamed = named is None or named.id != container.image_id
    shown = container_json.row(container, now, image, renamed=renamed)
    if sized and image is not None:
        shown["SizeRootFs"] = image.size_bytes
    return shown


async def inspect_container(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/json."""
    container = call.backend.containers.get(call.path["id"])
    image = ImageFinder(call.backend.images.get).find(container.image_id)
    exec_ids = call.backend.execs.ids_of(container.id)
    shown = container_inspect.inspect(container, image, exec_ids, driver=call.backend.facts.storage_driver)
    if call.flag("size"):
        shown |= {"SizeRw": 0, "SizeRootFs": image.size_bytes if image else 0}
    return json_reply(shown)


async def top(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/top?ps_args=-ef."""
    ps_args = call.query("ps_args") or "-ef"
    for name, value in re.findall(r"\s+(\S*)=\s*(PID\S*)", ps_args):
        # Otherwise another column could be taken for the PID, and show processes of other containers.
        if name != "pid":
            raise ShoalError(f'specifying "{name}={value}" is not allowed')
    titles, rows = await call.backend.containers.top(call.path["id"], ps_args)
    return json_reply({"Titles": titles, "Processes": rows})


async def kill(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/kill?signal=. With SIGKILL it waits until the container has ended."""
    ref, name = call.path["id"], call.query("signal") or "KILL"
    try:
        await _kill(call, ref, name)
    except (NotFound, InvalidArgument, Conflict) as error:
        prefix = f"cannot kill container: {ref}: "
        error.args = (prefix + str(error).removeprefix(prefix),)
        raise
    return empty_reply(204)


async def _kill(call: Call, ref: str, name: str) -> None:
    containers = call.backend.containers
    container_id = containers.get(ref).id
    await containers.kill(ref, name)
    if name.strip().upper().removeprefix("SIG") not in ("KILL", "9"):
        return
    if not await _ends_within(call, container_id, _KILL_TIMEOUT):
        raise ShoalError("tried to kill container, but did not receive an exit event")


async def _ends_within(call: Call, container_id: str, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await call.backend.containers.wait(container_id)
    except TimeoutError:
        return False
    except NotFound:
        pass  # it has ended and was removed
    return True


async def stop(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/stop?t=&signal=. 304 if it does not run. A negative `t` waits for ever."""
    seconds = min(call.integer("t"), _FOREVER) if call.query("t") else None
    container = call.backend.containers.get(call.path["id"])
    if container.phase is not Phase.RUNNING:
        return empty_reply(304)
    name = call.query("signal") if call.api >= 42 else ""
    if name:
        await _stop_by(call, container, name, seconds)
    else:
        await call.backend.containers.stop(container.id, seconds)
    return empty_reply(204)


async def _stop_by(call: Call, container: Container, name: str, seconds: float | None) -> None:
    """Stop with another signal than the container's own."""
    wait = container.config.stop_timeout if seconds is None else seconds
    await _kill_unless_ended(call, container, name)
    if not await _ends_within(call, container.id, wait if wait >= 0 else None):
        await _kill_unless_ended(call, container, "KILL")
        await _ends_within(call, container.id, _KILL_TIMEOUT)


async def _kill_unless_ended(call: Call, container: Container, name: str) -> None:
    try:
        await call.backend.containers.kill(container.id, name)
    except (Conflict, NotFound):
        pass  # it has just ended by itself


async def remove(call: Call) -> web.StreamResponse:
    """DELETE /containers/{id}?force=&v=."""
    if call.flag("link"):
        raise InvalidArgument("links are not supported")
    await call.backend.containers.remove(call.path["id"], force=call.flag("force"), volumes=call.flag("v"))
    return empty_reply(204)


async def prune(call: Call) -> web.StreamResponse:
    """POST /containers/prune: removes ended containers, except those of tasks, which their agent removes."""
    filters = call.filters(frozenset({"label", "label!", "until"}))
    before = until(filters, time.time())
    images = ImageFinder(call.backend.images.get)
    deleted = []
    for container in list(call.backend.containers.list()):
        labels = container_json.labels(container, images.find(container.image_id))
        ended = container.phase in {Phase.EXITED, Phase.CREATED, Phase.DEAD}
        young = before is not None and container.created_at > before
        if not ended or young or TASK_LABEL in labels or not labels_match(filters, labels):
            continue
        try:
            await call.backend.containers.remove(container.id)
        except (Conflict, NotFound):
            continue  # it was started, or removed, meanwhile
        deleted.append(container.id)
    return json_reply({"ContainersDeleted": deleted or None, "SpaceReclaimed": 0})


async def refuse(call: Call) -> web.StreamResponse:
    """Refuse the calls that only `docker run` and similar commands need."""
    raise Unimplemented("Shoal runs containers as tasks of services: use docker service create")


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/containers/json", list_containers),
    ("GET", "/containers/{id}/json", inspect_container),
    ("GET", "/containers/{id}/top", top),
    ("GET", "/containers/{id}/logs", container_streams.logs),
    ("GET", "/containers/{id}/stats", container_streams.stats),
    ("POST", "/containers/{id}/attach", container_streams.attach),
    ("POST", "/containers/{id}/resize", container_streams.resize),
    ("POST", "/containers/{id}/kill", kill),
    ("POST", "/containers/{id}/stop", stop),
    ("POST", "/containers/{id}/wait", container_streams.wait),
    ("POST", "/containers/prune", prune),
    ("DELETE", "/containers/{id}", remove),
    ("POST", "/containers/create", refuse),
    ("POST", "/containers/{id}/start", refuse),
    ("POST", "/containers/{id}/restart", refuse),
    ("POST", "/containers/{id}/pause", refuse),
    ("POST", "/containers/{id}/unpause", refuse),
    ("POST", "/containers/{id}/rename", refuse),
    ("POST", "/containers/{id}/update", refuse),
    ("GET", "/containers/{id}/changes", refuse),
    ("GET", "/containers/{id}/export", refuse),
    ("GET", "/containers/{id}/archive", refuse),
    ("HEAD", "/containers/{id}/archive", refuse),
    ("PUT", "/containers/{id}/archive", refuse),
    ("GET", "/containers/{id}/attach/ws", refuse),
    ("POST", "/commit", refuse),
]
