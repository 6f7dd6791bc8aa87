"""Containers of this host: list, inspect, top, and the calls that act on one (kill, stop, wait, remove).

Containers are made by tasks alone for now: creating, starting and restarting one is refused.
"""

import time
from typing import Any

from aiohttp import web

from shoal.engine import container_json, container_streams
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call, Filters
from shoal.engine.streams import start_json_stream, write_json
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.runtime.types import Container, Image, Phase

FILTERS = frozenset(
    {"ancestor", "before", "exited", "health", "id", "is-task", "label", "name", "network", "since", "status", "volume"}
)
TASK_LABEL = "com.docker.swarm.task.id"
_STATUSES = {"created", "restarting", "running", "removing", "paused", "exited", "dead"}
_HEALTHS = {"starting", "healthy", "unhealthy", "none"}


async def list_containers(call: Call) -> web.StreamResponse:
    """GET /containers/json: running ones, newest first; all with `all`, `limit` or a filter on a status."""
    filters = call.filters(FILTERS)
    _check_values(filters)
    everything = sorted(call.backend.containers.list(), key=lambda container: container.created_at, reverse=True)
    limit = call.integer("limit")
    show_all = call.flag("all") or limit > 0 or any(key in filters for key in ("status", "exited", "before", "since"))
    found = [
        container
        for container in everything
        if (show_all or container.phase is Phase.RUNNING) and _matches(call, container, filters)
    ]
    found = _between(call, found, filters)
    now = time.time()
    rows = [container_json.row(container, now) for container in (found[:limit] if limit > 0 else found)]
    if call.flag("size"):
        for shown in rows:
            shown |= {"SizeRw": 0, "SizeRootFs": _image_size(call, shown["ImageID"])}
    return json_reply(rows)


def _check_values(filters: Filters) -> None:
    for status in filters.get("status"):
        if status not in _STATUSES:
            raise InvalidArgument(
                f"invalid value for state ({status}): must be one of created, restarting, running, removing, paused, "
                "exited, or dead"
            )
    for health in filters.get("health"):
        if health not in _HEALTHS:
            raise InvalidArgument(
                f"invalid value for health ({health}): must be one of none, starting, healthy, or unhealthy"
            )


def _matches(call: Call, container: Container, filters: Filters) -> bool:
    config = container.config
    return (
        filters.prefix("id", container.id)
        and (filters.pattern("name", config.name) or filters.pattern("name", f"/{config.name}"))
        and filters.labels("label", config.labels)
        and filters.exact("status", str(container.phase))
        and filters.exact("health", str(container.health))
        and filters.exact("exited", str(container.exit_code) if container.phase is Phase.EXITED else "")
        and (not filters.get("network") or _has_network(container, filters))
        and ("is-task" not in filters or filters.flag("is-task") == (TASK_LABEL in config.labels))
        and (not filters.get("volume") or _has_volume(container, filters))
        and (not filters.get("ancestor") or _has_ancestor(call, container, filters))
    )


def _has_network(container: Container, filters: Filters) -> bool:
    names = {container.config.network, container.endpoint.network_name, container.endpoint.network_id} - {""}
    return bool(names & set(filters.get("network")))


def _has_volume(container: Container, filters: Filters) -> bool:
    names = {name for mount in container.mounts for name in (mount.source, mount.target)}
    return bool(names & set(filters.get("volume")))


def _has_ancestor(call: Call, container: Container, filters: Filters) -> bool:
    for name in filters.get("ancestor"):
        try:
            if call.backend.images.get(name).id == container.image_id:
                return True
        except NotFound:
            continue
    return False


def _between(call: Call, found: list[Container], filters: Filters) -> list[Container]:
    """Keep what was made before or since the containers that those filters name."""
    for ref in filters.get("before"):
        before = call.backend.containers.get(ref).created_at
        found = [container for container in found if container.created_at < before]
    for ref in filters.get("since"):
        since = call.backend.containers.get(ref).created_at
        found = [container for container in found if container.created_at > since]
    return found


def _image_size(call: Call, image_id: str) -> int:
    image = _image(call, image_id)
    return image.size_bytes if image else 0


def _image(call: Call, image_id: str) -> Image | None:
    try:
        return call.backend.images.get(image_id)
    except NotFound:
        return None  # removed by force while the container stays


async def inspect_container(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/json."""
    container = call.backend.containers.get(call.path["id"])
    shown = container_json.inspect(container, _image(call, container.image_id))
    shown["ExecIDs"] = call.backend.execs.ids_of(container.id) or None
    if call.flag("size"):
        shown |= {"SizeRw": 0, "SizeRootFs": _image_size(call, container.image_id)}
    return json_reply(shown)


async def top(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/top?ps_args=-ef."""
    titles, rows = await call.backend.containers.top(call.path["id"], call.query("ps_args", "-ef"))
    return json_reply({"Titles": titles, "Processes": rows})


async def kill(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/kill?signal=."""
    await call.backend.containers.kill(call.path["id"], call.query("signal") or "KILL")
    return empty_reply(204)


async def stop(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/stop?t=: 304 when it does not run."""
    container = call.backend.containers.get(call.path["id"])
    if container.phase is not Phase.RUNNING:
        return empty_reply(304)
    timeout = call.integer("t", -2)
    # t=-1 waits for ever in Docker; without t the container's own grace period counts.
    await call.backend.containers.stop(
        container.id, None if timeout == -2 else float("inf") if timeout < 0 else timeout
    )
    return empty_reply(204)


async def wait(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/wait?condition=: the head at once, the exit code when it is known."""
    condition = call.query("condition", "not-running") or "not-running"
    if condition not in {"not-running", "next-exit", "removed"}:
        raise InvalidArgument(f'invalid condition: "{condition}"')
    container = call.backend.containers.get(call.path["id"])
    response = await start_json_stream(call)
    exit_code, error = await _exit_of(call, container, condition)
    await write_json(response, {"StatusCode": exit_code} | ({"Error": {"Message": error}} if error else {}))
    await response.write_eof()
    return response


async def _exit_of(call: Call, container: Container, condition: str) -> tuple[int, str]:
    if condition == "not-running":
        container = await call.backend.containers.wait(container.id)
        return container.exit_code, container.error
    async for now in call.backend.containers.changes(container.id):
        exited_anew = now.phase is Phase.EXITED and now.finished_at != container.finished_at
        container_was = container
        container = now
        if condition == "next-exit" and exited_anew and container_was.phase is Phase.RUNNING:
            break
    return container.exit_code, container.error


async def remove(call: Call) -> web.StreamResponse:
    """DELETE /containers/{id}?force=&v=."""
    if call.flag("link"):
        raise InvalidArgument("links are not supported")
    await call.backend.containers.remove(call.path["id"], force=call.flag("force"), volumes=call.flag("v"))
    return empty_reply(204)


async def prune(call: Call) -> web.StreamResponse:
    """POST /containers/prune: removes what has ended and no task owns; a task's container is its agent's to remove."""
    filters = call.filters(frozenset({"label"}))
    deleted = []
    for container in call.backend.containers.list():
        ended = container.phase in {Phase.EXITED, Phase.CREATED, Phase.DEAD}
        if ended and TASK_LABEL not in container.config.labels and filters.labels("label", container.config.labels):
            await call.backend.containers.remove(container.id)
            deleted.append(container.id)
    return json_reply({"ContainersDeleted": deleted or None, "SpaceReclaimed": 0})


async def refuse(call: Call) -> web.StreamResponse:
    """Answer what only `docker run` and its like need."""
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
    ("POST", "/containers/{id}/wait", wait),
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
