"""Where a mount would really be in a container, through the links that its image set up, and where none may be.

A mount at or below /proc could hide what the kernel says there, or what the runtime writes there to lock the container
in. runc refuses those (libcontainer/rootfs_linux.go, checkProcMount), crun does not: here they are refused for both.
Blocking, but quick; before the container's process runs. In: a mounted root, mounts. Out: nothing, or why not.
"""

import os
import posixpath
from collections.abc import Iterable, Mapping

from shoal.runtime.types import Mount

# What tools like lxcfs replace; runc's list.
_ALLOWED = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
_LINKS_LIMIT = 255  # securejoin's


def refusal(root: str, mounts: Iterable[Mount], sources: Mapping[str, str]) -> str | None:
    """In runc's words, why the first of these mounts may not be; None when all may."""
    before: dict[str, str] = {}
    for mount in sorted(mounts, key=lambda one: one.target.count("/")):
        place = resolve(root, mount.target, before)
        source = sources.get(mount.target, "")
        why = _why_not(place, source)
        if why:
            return f'error mounting "{source or mount.type}" to rootfs at "{mount.target}": {why}'
        before[place] = posixpath.join(source, mount.subpath) if source else source
    return None


def _why_not(place: str, source: str) -> str:
    if place == "/proc":
        # The host's own, at the container's, is no lie.
        return "" if source == "/proc" else f'"{place}" cannot be mounted because it is not of type proc'
    if not place.startswith("/proc/") or place in _ALLOWED:
        return ""
    return f'"{place}" cannot be mounted because it is inside /proc'


def resolve(root: str, target: str, mounted: Mapping[str, str]) -> str:
    """The path of a target without links, as the container sees it. `mounted`: path -> what lies there on the host.

    What is below /proc is not followed: the root has no /proc yet, and whatever is there will be hidden.
    """
    todo = [part for part in reversed(target.split("/")) if part]
    place, links = "/", 0
    while todo:
        if place == "/proc":
            return posixpath.normpath(posixpath.join(place, *reversed(todo)))
        part = todo.pop()
        if part in (".", ".."):
            place = posixpath.normpath(posixpath.join(place, part))
            continue
        step = posixpath.join(place, part)
        link = _link(root, step, mounted)
        if link is None:
            place = step
            continue
        links += 1
        if links > _LINKS_LIMIT:
            return target  # the runtime will say so
        todo += [name for name in reversed(link.split("/")) if name]
        if link.startswith("/"):
            place = "/"
    return place


def _link(root: str, path: str, mounted: Mapping[str, str]) -> str | None:
    host = f"{root}{path}"
    for point, source in mounted.items():
        if path.startswith(f"{point}/"):
            host = f"{source}{path[len(point) :]}"
    try:
        return os.readlink(host)
    except OSError:  # not a link, or nothing there: the runtime makes it
        return None
