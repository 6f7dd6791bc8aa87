"""Finds where a mount will be in a container after the image's links are followed, and refuses forbidden places.

A mount at or below /proc could hide the kernel's files there, or those that the runtime writes to confine the
container. runc refuses such mounts (libcontainer/rootfs_linux.go, checkProcMount), crun does not; here they are refused
for both. Blocking, but quick; called before the container's process runs. In: a mounted root, mounts. Out: None or a
reason; the modes of folders that mounts will cover.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from shoal.runtime import confined, rootfs
from shoal.runtime.types import Mount

# Files that tools like lxcfs replace. Source: runc's list.
_ALLOWED = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
_LINKS_LIMIT = 255  # the limit of Go's securejoin


class Part(NamedTuple):
    """The source of a mount: a path on the host (empty for a tmpfs), and maybe a path below it."""

    source: str
    subpath: str


def refusal(root: str, etc: Iterable[str], mounts: Iterable[Mount], sources: Mapping[str, str]) -> str | None:
    """Return, in runc's words, why one of these mounts is refused, or None. `etc`: targets of our files of /etc."""
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
    """Return where a container may have mounts below its /proc, or None if it has a mount of its own at /proc."""
    if any(posixpath.normpath(mount.target) == "/proc" for mount in mounts):
        return None
    return frozenset(path for path in (*masked, *_ALLOWED) if path.startswith("/proc/"))


def unexpected(mountinfo: str, expected: frozenset[str]) -> str | None:
    """Return, in runc's words, what is wrongly mounted over /proc of a created container, or None.

    `refusal` checks before the runtime mounts. Another container with one of the volumes may put a link into it just
    then, and crun would follow it. So this checks the result.
    """
    points = rootfs.mount_points_in(mountinfo)
    for point in points:
        if point.startswith("/proc/") and point not in expected:
            return f'"{point}" cannot be mounted because it is inside /proc'
    if points.count("/proc") != 1:
        return '"/proc" cannot be mounted because it is not of type proc'
    return None


def covered_modes(root: str, mounts: Iterable[Mount], sources: Mapping[str, str]) -> dict[str, int]:
    """Return, by target, the mode of the folder that each tmpfs will cover. It is the tmpfs's default mode."""
    modes = {}
    for mount, place, before in _places(root, mounts, sources):
        # The image's folders below these are already covered when the tmpfs is mounted.
        if mount.type == "tmpfs" and not place.startswith(("/dev/", "/proc/", "/sys/")):
            where, path = _on_host(root, place, before)
            mode = confined.folder_mode(where, path) if where else None
            if mode is not None:
                modes[mount.target] = mode
    return modes


def _places(
    root: str, mounts: Iterable[Mount], sources: Mapping[str, str]
) -> Iterator[tuple[Mount, str, dict[str, Part]]]:
    """Yield each mount with its place and the mounts before it (place -> source), in the order of mounting."""
    before: dict[str, Part] = {}
    for mount in sorted(mounts, key=lambda one: one.target.count("/")):
        place = resolve(root, mount.target, before)
        yield mount, place, before
        before[place] = Part(sources.get(mount.target, ""), mount.subpath)


def _is_ordinary(root: str, target: str) -> bool:
    """Return whether there is a folder or nothing.

    Through a link, the kernel's file system would be mounted elsewhere.
    """
    try:
        return stat.S_ISDIR(os.lstat(f"{root}{target}").st_mode)
    except FileNotFoundError:
        return True


def _why_not(place: str, source: str) -> str:
    if place == "/proc":
        # The host's /proc at the container's /proc is allowed.
        return "" if source == "/proc" else f'"{place}" cannot be mounted because it is not of type proc'
    if not place.startswith("/proc/") or place in _ALLOWED:
        return ""
    return f'"{place}" cannot be mounted because it is inside /proc'


def resolve(root: str, target: str, mounted: Mapping[str, Part]) -> str:
    """Return a target's path in the container with all links followed. `mounted`: path in the container -> source.

    Links below /proc are not followed: the real /proc is not mounted yet and will hide what the image has there.
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
            return target  # the runtime will refuse it
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
        if error.errno in (errno.ENOTDIR, errno.ENOENT):  # the path leads through a file, or has gone
            return None
        raise


def _on_host(root: str, path: str, mounted: Mapping[str, Part]) -> tuple[str, str]:
    """Return the host's folder for a path of the container, and the path below it. The folder is empty for a tmpfs."""
    where, inside = root, path
    for point, part in mounted.items():
        if path == point or path.startswith(f"{point}/"):
            # A subpath is looked up inside its volume, as when it is mounted, because a container may have made it a
            # link.
            where, inside = part.source, f"/{part.subpath}{path[len(point) :]}"
    return where, inside
