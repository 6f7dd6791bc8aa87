"""The daemon itself: `/_ping`, `/version`, `/info`, `/system/df`, and `/auth`."""

import platform
import time
from typing import Any

from aiohttp import web

from shoal.engine import image_json
from shoal.engine.container_filters import ImageFinder
from shoal.engine.containers import container_row
from shoal.engine.info import info_json
from shoal.engine.replies import json_reply
from shoal.engine.requests import Call
from shoal.engine.router import MAX_API, MIN_API
from shoal.engine.volumes import volume_json
from shoal.errors import InvalidArgument, Unavailable
from shoal.node.types import LocalState
from shoal.runtime import aside, confined
from shoal.runtime.image_types import RegistryAuth

SIZE_TIMEOUT = 30.0
"""Seconds for the size of one volume. It may lie on a file server that does not answer."""
UNKNOWN_SIZE = -1
_KINDS = frozenset({"container", "image", "volume", "build-cache"})


def swarm_status(call: Call) -> str:
    """Return the `Swarm` header of a ping: the local state and, for an active node, its role."""
    info = call.backend.node.info()
    if info.local_state is not LocalState.ACTIVE:
        return info.local_state.value
    return "active/manager" if info.control_available else "active/worker"


async def ping(call: Call) -> web.Response:
    """GET and HEAD /_ping: shows that the daemon answers."""
    headers = {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Builder-Version": "1",
        "Swarm": swarm_status(call),
        "Content-Type": "text/plain; charset=utf-8",
    }
    return web.Response(body=b"" if call.http.method == "HEAD" else b"OK", headers=headers)


async def version(call: Call) -> web.Response:
    """GET /version."""
    facts, host = call.backend.facts, call.backend.host
    details = {
        "ApiVersion": f"1.{MAX_API}",
        "Arch": host.architecture,
        "BuildTime": facts.build_time,
        "Experimental": str(facts.experimental).lower(),
        "GitCommit": facts.git_commit,
        "GoVersion": f"python{platform.python_version()}",
        "KernelVersion": host.kernel_version,
        "MinAPIVersion": f"1.{MIN_API}",
        "Os": "linux",
    }
    components: list[dict[str, Any]] = [{"Name": "Engine", "Version": facts.version, "Details": details}]
    for name, found in ((facts.runtime, facts.runtime_version), ("conmon", facts.conmon_version)):
        if found:
            components.append({"Name": name, "Version": found, "Details": {"GitCommit": ""}})
    shown: dict[str, Any] = {
        "Platform": {"Name": "Shoal"},
        "Version": facts.version,
        "ApiVersion": details["ApiVersion"],
        "MinAPIVersion": details["MinAPIVersion"],
        "Os": "linux",
        "Arch": host.architecture,
        "Components": components,
        "GitCommit": facts.git_commit,
        "GoVersion": details["GoVersion"],
        "KernelVersion": host.kernel_version,
        "BuildTime": facts.build_time,
    }
    if facts.experimental:
        shown["Experimental"] = True
    return json_reply(shown)


async def info(call: Call) -> web.Response:
    """GET /info."""
    return json_reply(info_json(call.backend, call.api))


async def disk_usage(call: Call) -> web.Response:
    """GET /system/df."""
    kinds = frozenset(call.http.query.getall("type", [])) if call.api >= 42 else frozenset()
    for kind in kinds - _KINDS:
        raise InvalidArgument(f"unknown object type: {kind}")
    wanted = kinds or _KINDS
    shown: dict[str, Any] = {}
    containers = call.backend.containers.list()
    if "image" in wanted:
        images = call.backend.images.list()
        used = [container.image_id for container in containers]
        shown["LayersSize"] = sum(image.size_bytes for image in images)
        shown["Images"] = [image_json.summary(image, used.count(image.id)) for image in images]
        if call.api < 44:
            for image in shown["Images"]:
                image["VirtualSize"] = image["Size"]
    if "container" in wanted:
        now = time.time()
        finder = ImageFinder(call.backend.images.get)
        shown["Containers"] = [container_row(container, now, finder, sized=True) for container in containers]
    if "volume" in wanted:
        shown["Volumes"] = [await _volume_usage(call, volume) for volume in call.backend.volumes.list()]
    if "build-cache" in wanted:
        shown["BuildCache"] = []
        shown["BuilderSize"] = 0
    return json_reply(shown)


async def _volume_usage(call: Call, volume: Any) -> dict[str, Any]:
    users = sum(
        any(mount.type == "volume" and mount.source == volume.name for mount in container.mounts)
        for container in call.backend.containers.list()
    )
    try:
        path = volume.mountpoint
        size = await aside.run(lambda: confined.tree_size_bytes(path), SIZE_TIMEOUT, key=("size", path))
    except (TimeoutError, Unavailable):
        size = UNKNOWN_SIZE
    return {**volume_json(volume), "UsageData": {"Size": size, "RefCount": users}}


async def authenticate(call: Call) -> web.Response:
    """POST /auth, for `docker login`: asks the registry. The client keeps the password and sends it with each pull."""
    body = await call.json_object()
    given = {name: str(body.get(name) or "") for name in ("username", "password", "identitytoken", "serveraddress")}
    auth = RegistryAuth(given["username"], given["password"], given["identitytoken"], given["serveraddress"])
    await call.backend.images.login(auth)
    return json_reply({"Status": "Login Succeeded", "IdentityToken": ""})


ROUTES = [
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
    ("GET", "/system/df", disk_usage),
    ("POST", "/auth", authenticate),
]
