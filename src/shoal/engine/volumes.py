"""Local volumes: create, list, inspect, remove, prune."""

from typing import Any

from aiohttp import web

from shoal.engine.container_json import instant
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call, Filters
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.runtime.types import Volume

FILTERS = frozenset({"dangling", "driver", "label", "name"})


def volume_json(volume: Volume) -> dict[str, Any]:
    """Return a volume in Docker's shape."""
    return {
        "CreatedAt": instant(volume.created_at),
        "Driver": "local",
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def in_use(call: Call) -> set[str]:
    """Return the names of the volumes that some container has."""
    return {
        mount.source
        for container in call.backend.containers.list()
        for mount in container.mounts
        if mount.type == "volume"
    }


def _matching(call: Call, filters: Filters) -> list[Volume]:
    used = in_use(call) if "dangling" in filters else set()
    return [
        volume
        for volume in call.backend.volumes.list()
        if filters.pattern("name", volume.name)
        and filters.exact("driver", "local")
        and filters.labels("label", volume.labels)
        and ("dangling" not in filters or filters.flag("dangling") == (volume.name not in used))
    ]


async def list_volumes(call: Call) -> web.StreamResponse:
    """GET /volumes."""
    found = _matching(call, call.filters(FILTERS))
    return json_reply({"Volumes": [volume_json(volume) for volume in found], "Warnings": None})


async def inspect_volume(call: Call) -> web.StreamResponse:
    """GET /volumes/{name}."""
    return json_reply(volume_json(call.backend.volumes.get(call.path["name"])))


async def create_volume(call: Call) -> web.StreamResponse:
    """POST /volumes/create: the present one when there is one of this name."""
    body = await call.json_object()
    if body.get("ClusterVolumeSpec"):
        raise Unimplemented("cluster volumes come with a later release of Shoal")
    options, labels = body.get("DriverOpts") or {}, body.get("Labels") or {}
    for name, value in (("DriverOpts", options), ("Labels", labels)):
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise InvalidArgument(f"invalid JSON: {name} must be an object of strings")
    volume = await call.backend.volumes.create(
        str(body.get("Name") or ""), str(body.get("Driver") or "local"), options, labels
    )
    return json_reply(volume_json(volume), 201)


async def remove_volume(call: Call) -> web.StreamResponse:
    """DELETE /volumes/{name}?force=: with force, one that is not there is no error."""
    force = call.flag("force")
    try:
        await call.backend.volumes.remove(call.path["name"], force)
    except NotFound:
        if not force:
            raise
    return empty_reply(204)


async def prune_volumes(call: Call) -> web.StreamResponse:
    """POST /volumes/prune: unused anonymous volumes, all unused ones with the filter `all` (and before 1.42)."""
    filters = call.filters(frozenset({"all", "label"}))
    everything = filters.flag("all") or call.api < 42
    used, deleted = in_use(call), []
    for volume in call.backend.volumes.list():
        if volume.name in used or not (everything or volume.anonymous) or not filters.labels("label", volume.labels):
            continue
        await call.backend.volumes.remove(volume.name, False)
        deleted.append(volume.name)
    return json_reply({"VolumesDeleted": deleted or None, "SpaceReclaimed": 0})


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/volumes", list_volumes),
    ("GET", "/volumes/{name}", inspect_volume),
    ("POST", "/volumes/create", create_volume),
    ("DELETE", "/volumes/{name}", remove_volume),
    ("POST", "/volumes/prune", prune_volumes),
]
