"""Local volumes: create, list, inspect, remove, prune.

Source of semantics and texts: moby daemon/server/router/volume, daemon/volume/service.
"""

import asyncio
from typing import Any

from aiohttp import web

from shoal.engine.body import Body
from shoal.engine.codec.message import member
from shoal.engine.container_json import instant
from shoal.engine.moments import labels_match
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call, Filters
from shoal.errors import Conflict, InvalidArgument, NotFound, Unavailable, Unimplemented
from shoal.runtime import confined
from shoal.runtime.types import Volume

FILTERS = frozenset({"dangling", "driver", "label", "name"})

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def volume_json(volume: Volume) -> dict[str, Any]:
    """Return a volume in Docker's JSON."""
    return {
        "CreatedAt": instant(int(volume.created_at)),
        "Driver": "local",
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def in_use(call: Call) -> set[str]:
    """Return the names of the volumes that containers use."""
    return {
        mount.source
        for container in call.backend.containers.list()
        for mount in container.mounts
        if mount.type == "volume"
    }


def _matching(call: Call, filters: Filters) -> list[Volume]:
    dangling = filters.flag("dangling") if "dangling" in filters else None
    used = in_use(call) if dangling is not None else set()
    return [
        volume
        for volume in call.backend.volumes.list()
        if filters.pattern("name", volume.name)
        and filters.exact("driver", "local")
        and filters.labels("label", volume.labels)
        and (dangling is None or dangling == (volume.name not in used))
    ]


async def list_volumes(call: Call) -> web.StreamResponse:
    """GET /volumes."""
    found = _matching(call, call.filters(FILTERS))
    return json_reply({"Volumes": [volume_json(volume) for volume in found], "Warnings": None})


async def inspect_volume(call: Call) -> web.StreamResponse:
    """GET /volumes/{name}."""
    return json_reply(volume_json(call.backend.volumes.get(call.path["name"])))


async def create_volume(call: Call) -> web.StreamResponse:
    """POST /volumes/create: returns the existing volume if there is one with this name."""
    body = await Body.read(call, "CreateRequest")
    if call.api >= 42 and member(body.given, "ClusterVolumeSpec") is not None:
        raise Unimplemented("cluster volumes come with a later release of Shoal")
    name, driver = body.text("Name"), body.text("Driver") or "local"
    options, labels = body.text_map("DriverOpts"), body.text_map("Labels")
    volume = await call.backend.volumes.create(name, driver, options, labels)
    return json_reply(volume_json(volume), 201)


async def remove_volume(call: Call) -> web.StreamResponse:
    """DELETE /volumes/{name}?force=. With force, a missing volume is no error."""
    force = call.flag("force")
    try:
        await call.backend.volumes.remove(call.path["name"], force)
    except NotFound:
        if not force:
            raise
    return empty_reply(204)


async def update_volume(call: Call) -> web.StreamResponse:
    """PUT /volumes/{name}: only for cluster volumes, which do not exist here."""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


def _prunes_all(call: Call, filters: Filters) -> bool:
    """Return whether named volumes are pruned too: with the filter `all`, and always before API 1.42."""
    values = filters.get("all")
    if len(values) > 1:
        raise InvalidArgument(f"invalid filter 'all=[{' '.join(values)}]': only one value is expected")
    if values and values[0] not in _TRUE | _FALSE:
        raise InvalidArgument(f"invalid filter 'all': strconv.ParseBool: parsing \"{values[0]}\": invalid syntax")
    return call.api < 42 or (bool(values) and values[0] in _TRUE)


async def prune_volumes(call: Call) -> web.StreamResponse:
    """POST /volumes/prune: removes anonymous volumes that no container uses, with the filter `all` named ones too."""
    filters = call.filters(frozenset({"all", "label", "label!"}))
    everything = _prunes_all(call, filters)
    used, deleted, freed = in_use(call), [], 0
    for volume in list(call.backend.volumes.list()):
        if volume.name in used or not (everything or volume.anonymous) or not labels_match(filters, volume.labels):
            continue
        size_bytes = await asyncio.to_thread(confined.tree_size_bytes, volume.mountpoint)
        try:
            await call.backend.volumes.remove(volume.name, False)
        except (Conflict, NotFound):
            continue  # a container took it, or it was removed, meanwhile
        deleted.append(volume.name)
        freed += size_bytes
    return json_reply({"VolumesDeleted": deleted, "SpaceReclaimed": freed})


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/volumes", list_volumes),
    ("GET", "/volumes/{name}", inspect_volume),
    ("POST", "/volumes/create", create_volume),
    ("PUT", "/volumes/{name}", update_volume),
    ("DELETE", "/volumes/{name}", remove_volume),
    ("POST", "/volumes/prune", prune_volumes),
]
