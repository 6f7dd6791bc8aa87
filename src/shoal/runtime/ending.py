"""Ends every container of a host that goes down, with its own signal and grace: `shoald --end-containers`.

In: the records of running containers on disk. Out: their stop signals, SIGKILL after their grace, and unmounted roots.
Blocking. The daemon has ended before this runs. Nothing is recorded, so the daemon's next start reports that they ended
with the host, with exit code 255, and their tasks count as failed.
"""

import logging
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import DamagedState
from shoal.paths import Paths
from shoal.runtime import processes, records, rootfs
from shoal.runtime.cgroups import Cgroups
from shoal.runtime.types import Container, Phase

log = logging.getLogger(__name__)

# The longest grace, in seconds, because systemd forces a reboot after 30 minutes (JobTimeoutSec of reboot.target).
GRACE_LIMIT = 25 * 60.0
# Seconds that a process may take to end after SIGKILL.
KILLED_WITHIN = 10.0
_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How many containers ended by their stop signal, how many were killed, and how many are still there."""

    asked: int
    killed: int
    left: int


@dataclass(frozen=True, slots=True)
class _Running:
    """A container that was sent its stop signal."""

    container: Container
    fd: int  # pidfd of its conmon, which ends after it, or of its first process if conmon is gone
    deadline: float


def grace(stop_timeout: float) -> float:
    """Return how long to wait for a container, in seconds. A negative timeout means for ever, as in Docker."""
    return GRACE_LIMIT if stop_timeout < 0 else min(stop_timeout, GRACE_LIMIT)


def end_all(paths: Paths, cgroups: Cgroups) -> Ended:
    """End all containers at the same time, and return when the last has ended. May be repeated."""
    waiting = {one.fd: one for one in _ask(paths)}
    asked, poll = 0, select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting:
        now = time.monotonic()
        for one in [one for one in waiting.values() if one.deadline <= now]:
            _forget(poll, waiting, one.fd)  # its cgroup is killed below, together with unknown ones
        if not waiting:
            break
        nearest = min(one.deadline for one in waiting.values())
        for fd, _ in poll.poll(max(1, (nearest - now) * 1000)):
            _forget(poll, waiting, fd)
            asked += 1
    killed, left = _kill(cgroups)
    rootfs.unmount_below(paths.bundles)
    return Ended(asked, killed, left)


def _forget(poll: select.poll, waiting: dict[int, _Running], fd: int) -> None:
    del waiting[fd]
    poll.unregister(fd)
    os.close(fd)


def _ask(paths: Paths) -> list[_Running]:
    """Send each running container its stop signal, and return those containers."""
    found = []
    for folder in sorted(paths.containers.iterdir()) if paths.containers.is_dir() else ():
        try:
            one = _ask_one(folder, paths.bundles / folder.name)
        except DamagedState as error:
            log.error("container %s is killed, because its stop signal is not known: %s", folder.name[:12], error)
            continue
        if one is not None:
            found.append(one)
    return found


def _ask_one(folder: Path, bundle: Path) -> _Running | None:
    config = records.read_config(folder)
    state = records.read_state(bundle, config) if config is not None else None
    if state is None:
        return None
    container, running = state
    if running is None or container.phase is not Phase.RUNNING:
        return None
    fd = processes.open_if(running.conmon_pid, running.conmon_started) if running.conmon_started else None
    if fd is None:
        fd = processes.open_if(container.pid, running.pid_started)
    if fd is None:
        return None
    processes.send(container.pid, running.pid_started, container.stop_signal)
    return _Running(container, fd, time.monotonic() + grace(container.config.stop_timeout))


def _kill(cgroups: Cgroups) -> tuple[int, int]:
    """Kill what is left in the cgroups. Return how many containers that were, and how many are still there."""
    left = {id for id in cgroups.ids() if cgroups.pids(id)}  # noqa: A001 - a container's id
    killed, deadline = len(left), time.monotonic() + KILLED_WITHIN
    while left and time.monotonic() < deadline:
        for id in left:  # noqa: A001
            cgroups.kill(id)
        time.sleep(_LOOK_EVERY)
        left = {id for id in left if cgroups.pids(id)}  # noqa: A001
    return killed, len(left)
