"""Finds where a mount lands in a container, after the image's links, and refuses places where none may be.

A mount at or below /proc could hide what the kernel says there, or what the runtime writes there to lock the container
in. runc refuses those (libcontainer/rootfs_linux.go, checkProcMount), crun does not: here they are refused for both.
Blocking, but quick; before the container's process runs. In: a mounted root, mounts. Out: nothing, or why not; the
modes of folders that will be covered.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from shoal.runtime import confined, rootfs
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


class Part(NamedTuple):
    """What is mounted: a folder or a file of the host's (empty: a tmpfs), or a part of that folder."""

    source: str
    subpath: str


def refusal(root: str, etc: Iterable[str], mounts: Iterable[Mount], sources: Mapping[str, str]) -> str | None:
    """In runc's words, why the first of these mounts may not be; None when all may. `etc`: files that we mount."""
    for target, kind in (("/proc", "proc"), ("/sys", "sysfs")):
        if not _is_ordinary(root, target):
            why = f'filesystem "{kind}" must be mounted on ordinary directory'
            return f'error mounting "{kind}" to rootfs at "{target}": {why}'
    for target in ("/dev", *etc):
        if why := _why_not(resolve(root, target, {}), ""):
            return f'error mounting to rootfs at "{target}": {why}'
    for mount, place, _ in _places(root, mounts, sources):
        source = sources.get(mount.target, "")
        if why := _why_not(place, source):
            return f'error mounting "{source or mount.type}" to rootfs at "{mount.target}": {why}'
    return None


def expected_below_proc(masked: Iterable[str], mounts: Iterable[Mount]) -> frozenset[str] | None:
    """Where a container that is made may have mounts below its /proc; None where it is the host's, as was asked for."""
    if any(posixpath.normpath(mount.target) == "/proc" for mount in mounts):
        return None
    return frozenset(path for path in (*masked, *_ALLOWED) if path.startswith("/proc/"))


def unexpected(mountinfo: str, expected: frozenset[str]) -> str | None:
    """In runc's words, what is mounted over /proc of a container that was made but does not run yet.

    `refusal` looks before the runtime mounts. Another container that has one of the volumes may put a link in it right
    then, which crun follows. This looks at what came of it.
    """
    points = rootfs.mount_points_in(mountinfo)
    for point in points:
        if point.startswith("/proc/") and point not in expected:
            return f'"{point}" cannot be mounted because it is inside /proc'
    if points.count("/proc") != 1:
        return '"/proc" cannot be mounted because it is not of type proc'
    return None


def covered_modes(root: str, mounts: Iterable[Mount], sources: Mapping[str, str]) -> dict[str, int]:
    """The mode of the folder that each tmpfs will cover, by its target: without one of its own it gets that."""
    modes = {}
    for mount, place, before in _places(root, mounts, sources):
        # What the image has below these is covered already when the tmpfs is mounted.
        if mount.type == "tmpfs" and not place.startswith(("/dev/", "/proc/", "/sys/")):
            where, path = _on_host(root, place, before)
            mode = confined.folder_mode(where, path) if where else None
            if mode is not None:
                modes[mount.target] = mode
    return modes


def _places(
    root: str, mounts: Iterable[Mount], sources: Mapping[str, str]
) -> Iterator[tuple[Mount, str, dict[str, Part]]]:
    """Each mount, where it will be, and what lies where by then; in the order that they are mounted."""
    before: dict[str, Part] = {}
    for mount in sorted(mounts, key=lambda one: one.target.count("/")):
        place = resolve(root, mount.target, before)
        yield mount, place, before
        before[place] = Part(sources.get(mount.target, ""), mount.subpath)


def _is_ordinary(root: str, target: str) -> bool:
    """Whether a folder, or nothing, is there: through a link the kernel's own would be mounted elsewhere."""
    try:
        return stat.S_ISDIR(os.lstat(f"{root}{target}").st_mode)
    except FileNotFoundError:
        return True


def _why_not(place: str, source: str) -> str:
    if place == "/proc":
        # The host's own, at the container's, is no lie.
        return "" if source == "/proc" else f'"{place}" cannot be mounted because it is not of type proc'
    if not place.startswith("/proc/") or place in _ALLOWED:
        return ""
    return f'"{place}" cannot be mounted because it is inside /proc'


def resolve(root: str, target: str, mounted: Mapping[str, Part]) -> str:
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


def _link(root: str, path: str, mounted: Mapping[str, Part]) -> str | None:
    where, inside = _on_host(root, path, mounted)
    if not where:
        return None
    try:
        return confined.read_link(where, inside)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ENOENT):  # a file is mounted there, or no longer is
            return None
        raise


def _on_host(root: str, path: str, mounted: Mapping[str, Part]) -> tuple[str, str]:
    """The folder on the host that a path of the container is in, and the path below it; a tmpfs is in none."""
    where, inside = root, path
    for point, part in mounted.items():
        if path == point or path.startswith(f"{point}/"):
            # The part of a volume is found inside it, as when it is mounted: a container may have made it a link.
            where, inside = part.source, f"/{part.subpath}{path[len(point) :]}"
    return where, inside
