"""Mounts what the options of volumes name, and unmounts it. Each in a thread of its own (`aside`).

A file server that does not answer holds up whoever needs this volume, until MOUNT_TIMEOUT, and nobody else. Of one
volume, only one mount or unmount runs at a time.
"""

import asyncio
import ipaddress
import logging
import re
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shoal.errors import ShoalError
from shoal.host import linux, programs
from shoal.runtime import aside
from shoal.runtime.types import Volume

log = logging.getLogger(__name__)

_PASSWORD = re.compile(r"(?<![^,])(pass|password|password2)=[^,]*")
MOUNT_TIMEOUT = 120.0
"""Seconds after which a file server that does not answer counts as unreachable."""
_END_TIMEOUT = 5.0  # for a mount program that was killed. In the kernel's hands it may not end


class VolumeMounts:
    """The mounts of one data root's volumes. For one event loop."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        """`wanted` says whether anybody uses a volume of this name."""
        self._wanted = wanted
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._abandoned: set[str] = set()  # being mounted, while who wanted them has gone
        self._left: dict[str, subprocess.Popen[bytes]] = {}  # mount programs that did not end when they were killed

    async def mount(self, volume: Volume) -> None:
        """Mount it unless it is mounted. Raises ShoalError, Unavailable."""
        self._abandoned.discard(volume.name)
        try:
            async with asyncio.timeout(MOUNT_TIMEOUT + 2 * _END_TIMEOUT):
                await self._alone(volume, self._mount)
        except TimeoutError as error:
            self._abandon(volume)
            raise ShoalError(f"failed to mount local volume: {volume.options['device']} does not answer") from error
        except asyncio.CancelledError:
            self._abandon(volume)
            raise

    async def unmount(self, volume: Volume) -> None:
        """Unmount whatever is mounted there. Raises ShoalError, Unavailable."""
        await self._alone(volume, self._unmount)

    def unmount_soon(self, volume: Volume) -> None:
        """Unmount it in the background if nobody wants it by then."""
        self._abandon(volume)
        if volume.name not in self._under_way:
            self._ended(volume, None)

    async def _alone(self, volume: Volume, work: Callable[[Volume], None]) -> None:
        while (other := self._under_way.get(volume.name)) is not None:
            await asyncio.wait([other])
        mine = self._start(volume, work)
        await asyncio.wait([mine])
        mine.result()

    def _start(self, volume: Volume, work: Callable[[Volume], None]) -> "asyncio.Future[None]":
        mine = aside.start(partial(work, volume))
        self._under_way[volume.name] = mine
        mine.add_done_callback(partial(self._ended, volume))
        return mine

    def _abandon(self, volume: Volume) -> None:
        if not self._wanted(volume.name):
            self._abandoned.add(volume.name)

    def _ended(self, volume: Volume, job: "asyncio.Future[None] | None") -> None:
        if job is not None:
            self._under_way.pop(volume.name, None)
        if volume.name not in self._abandoned:
            return
        self._abandoned.discard(volume.name)
        if not self._wanted(volume.name):
            try:
                self._start(volume, self._unmount_or_tell)
            except ShoalError as error:
                log.warning("volume %s stays mounted: %s", volume.name, error)

    def _mount(self, volume: Volume) -> None:
        # Not os.path.ismount: a look at the folder may wait for its server.
        if volume.mountpoint in mounts_below(Path(volume.mountpoint)):
            return
        self._check_ended(volume)
        options = volume.options.get("o", "")
        try:
            if volume.options.get("type") in ("nfs", "nfs4", "cifs"):
                options = _with_address(options)
            process = subprocess.Popen(
                mount_command(volume, options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            code, said = self._finish(volume.name, process)
        except subprocess.TimeoutExpired:
            # Its own text has the command, and with it a password.
            raise ShoalError(
                f"failed to mount local volume: {volume.options['device']} has not answered for {MOUNT_TIMEOUT:g} s: "
                "timed out"
            ) from None
        except OSError as error:
            raise ShoalError(f"failed to mount local volume: {error}") from error
        if code != 0:
            words = said.decode(errors="replace").strip().splitlines()
            shown = _PASSWORD.sub(r"\1=********", options)
            raise ShoalError(
                f"failed to mount local volume: mount {volume.options['device']}:{volume.mountpoint}, data: {shown}: "
                f"{words[0] if words else 'no reason given'}"
            )

    def _unmount(self, volume: Volume) -> None:
        self._check_ended(volume)
        path = Path(volume.mountpoint)
        while str(path) in mounts_below(path):
            try:
                linux.umount(str(path), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
            except OSError as error:
                raise ShoalError(f"cannot unmount {path}: {error.strerror}") from error

    def _unmount_or_tell(self, volume: Volume) -> None:
        try:
            self._unmount(volume)
        except ShoalError as error:
            log.warning("volume %s stays mounted: %s", volume.name, error)

    def _check_ended(self, volume: Volume) -> None:
        """Refuse while an earlier mount may still come about, over whatever is there then."""
        former = self._left.get(volume.name)
        if former is not None and former.poll() is None:
            raise ShoalError(f"an earlier mount of {volume.options['device']} at {volume.mountpoint} has not ended")
        self._left.pop(volume.name, None)

    def _finish(self, name: str, process: "subprocess.Popen[bytes]") -> tuple[int, bytes]:
        try:
            _, said = process.communicate(timeout=MOUNT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.communicate(timeout=_END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._left[name] = process
            raise
        return process.returncode, said


def mount_command(volume: Volume, options: str) -> list[str]:
    """Return the command that mounts a volume's device. As in Docker, no helper program is used (`-i`)."""
    kind, device = volume.options.get("type", ""), volume.options["device"]
    extra = ["-o", options] if options else []
    return [programs.find("mount"), "-i", "-t", kind, *extra, "--", device, volume.mountpoint]


def _with_address(options: str) -> str:
    """Resolve a name in the option `addr`, because the kernel needs an address."""
    parts = options.split(",")
    for at, part in enumerate(parts):
        name, _, value = part.partition("=")
        if name == "addr" and value:
            try:
                ipaddress.ip_address(value)
            except ValueError:
                parts[at] = f"addr={socket.getaddrinfo(value, None)[0][4][0]}"
    return ",".join(parts)


def mounts_below(path: Path) -> list[str]:
    """Return the mount points at or below a path, from the kernel's list.

    `os.path.ismount` would miss a bind mount of the same file system.
    """
    prefix = f"{path}/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        points = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4]) for line in lines]
    return [point for point in points if point == str(path) or point.startswith(prefix)]
