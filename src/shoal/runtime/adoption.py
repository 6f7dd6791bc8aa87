"""Compares the containers on disk with the running ones. Blocking; called once at the start, in a worker thread.

In: the folders of containers and bundles. Out: a `Found` for each container. Leftovers that belong to no container are
removed. Containers that run and have a record are not touched.
"""

import dataclasses
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import DamagedState
from shoal.network.types import Sandbox
from shoal.runtime import bundle, confined, conmon, processes, records
from shoal.runtime.discards import REMOVING
from shoal.runtime.types import Container, Health, Phase

log = logging.getLogger(__name__)

# The exit code for an end that nobody saw, because the host went down or files are gone. moby uses the same.
UNSEEN_EXIT = 255
KILLED_EXIT = 137


@dataclass(frozen=True, slots=True)
class Found:
    """A container of an earlier run. `running` is set while its conmon lives."""

    container: Container
    running: records.Running | None
    conmon_fd: int | None
    ended_unseen: bool  # it ended while no daemon ran, so its end must still be reported and cleaned up


def scan(site: bundle.Site) -> list[Found]:
    """Return every container on disk. A damaged one is logged and left as it is, with its bundle."""
    for folder in (site.containers, site.bundles):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, known = [], set()
    for entry in sorted(os.scandir(site.containers), key=lambda one: one.name):
        folder = Path(entry.path)
        if folder.name.endswith(REMOVING):
            known.discard(folder.name.removesuffix(REMOVING))
            bundle.remove(site, folder.name.removesuffix(REMOVING))
            confined.remove_remains(folder)
            continue
        try:
            one = _look(site, folder)
        except DamagedState as error:
            log.error("container %s is left alone: %s", folder.name[:12], error)
            known.add(folder.name)
            continue
        if one is None:
            log.warning("%s was never a whole container and is removed", folder)
            bundle.remove(site, folder.name)
            confined.remove_remains(folder)
            continue
        known.add(folder.name)
        found.append(one)
    _sweep(site, known)
    return found


def _look(site: bundle.Site, folder: Path) -> Found | None:
    container = records.read_config(folder)
    if container is None:
        return None
    there = site.bundle(container.id)
    state = records.read_state(there, container)
    if state is not None and state[1] is not None:
        return _judge(site, *state)
    if state is not None:
        container = state[0]
    if there.exists() and (conmon.read_number(there / "conmon.pid") or site.cgroups.pids(container.id)):
        # The daemon died after the start of the process and before its record. It counts as never started.
        _kill_conmon(there)
        bundle.remove(site, container.id)
        return Found(dataclasses.replace(container, sandbox=Sandbox()), None, None, False)
    last = records.read_state(folder, container)
    if last is not None:
        ended = last[0]
        if ended.phase is Phase.RUNNING:
            return Found(_ended(ended, UNSEEN_EXIT, time.time()), None, None, True)
        return Found(ended, None, None, False)
    return Found(container, None, None, False)


def _judge(site: bundle.Site, container: Container, running: records.Running | None) -> Found:
    """Return a container that was running when its state was written."""
    assert running is not None
    there = site.bundle(container.id)
    fd = processes.open_if(running.conmon_pid, running.conmon_started) if running.conmon_started else None
    if fd is not None:
        site.cgroups.keep_apart(running.conmon_pid)  # an older release left it in the service's cgroup
        return Found(container, running, fd, False)
    code = conmon.exit_of(there)
    oom = conmon.was_oom_killed(there)
    if code is not None:
        return Found(dataclasses.replace(_ended(container, *code), oom_killed=oom), None, None, True)
    # conmon died without writing an exit code. The container has lost its stdio, and its exit code cannot be known.
    alive = processes.started(container.pid) == running.pid_started
    return Found(_ended(container, KILLED_EXIT if alive else UNSEEN_EXIT, time.time()), None, None, True)


def _ended(container: Container, code: int, at: float) -> Container:
    return dataclasses.replace(
        container,
        phase=Phase.EXITED,
        pid=0,
        exit_code=code,
        finished_at=at,
        health=Health.NONE if container.health is Health.NONE else Health.UNHEALTHY,
    )


def _kill_conmon(there: Path) -> None:
    pid = conmon.read_number(there / "conmon.pid")
    if not pid:
        return
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return
    if os.fsencode(there.name) in command:  # another process may have the number by now
        processes.send(pid, 0, 9)


def _sweep(site: bundle.Site, known: set[str]) -> None:
    """Remove bundles and cgroups of containers that no longer exist."""
    for entry in os.scandir(site.bundles):
        if entry.name not in known and entry.is_dir(follow_symlinks=False):
            _kill_conmon(Path(entry.path))
            bundle.remove(site, entry.name)
    for id in site.cgroups.ids() - known:  # noqa: A001 - a container's id
        site.cgroups.kill(id)
        site.cgroups.remove(id)
