"""Disks that are full, out of inodes or read-only, and a daemon without file descriptors, while services are made.

Afterwards there is room again. Then everything that was asked for runs, everything acknowledged is there, and nothing
is left over.
"""

import contextlib
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import faults
from tests.cluster.faults import call, create, ensure_running, init, scale, settled
from tests.harness.hosts import Host, eventually, run

pytestmark = pytest.mark.root


@contextlib.contextmanager
def small_disk(part: str, options: str) -> Iterator[Host]:
    """Yield a swarm of one with a small disk of its own below one of its roots."""
    made = Host("disk")
    disk = getattr(made, part)
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk))
    try:
        made.start()
        init(made)
        yield made
        faults.remove_all(made)
        faults.nothing_remains(made)
        faults.leave(made)
        assert made.stop() == 0
        assert [left for left in made.leftovers() if left != f"mount {disk}"] == []
    finally:
        made.close()
        run("umount", "-l", str(disk), check=False)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    continue
    return filler


def _fill_inodes(disk: Path) -> Path:
    filler = disk / "filler.d"
    filler.mkdir()
    with contextlib.suppress(OSError):
        for number in range(1 << 20):
            (filler / str(number)).touch()
    return filler


def _said(on: Host) -> str:
    """Return all messages about errors: in the log, in answers to clients, in the status of tasks."""
    found: list[dict[str, Any]] = []
    faults.try_to(lambda: found.extend(call(on, "GET", "/tasks")))
    return "\n".join([on.log(), *faults.refusals, *(task["Status"].get("Err", "") for task in found)])


@pytest.mark.parametrize(
    ("part", "options", "what"),
    [
        ("data_root", "size=200m", "bytes"),
        ("exec_root", "size=24m", "bytes"),
        ("data_root", "size=400m,nr_inodes=3000", "inodes"),
        ("exec_root", "size=24m,nr_inodes=1500", "inodes"),
    ],
)
def test_disk_that_fills_up_while_containers_are_made(part: str, options: str, what: str) -> None:
    faults.refusals.clear()
    with small_disk(part, options) as on:
        disk = getattr(on, part)
        create(on, "kept", 2)
        create(on, "web", 1)
        settled(on, {"kept": 2, "web": 1})
        kept = {one["Id"] for one in faults.containers(on, "kept")}
        scale(on, "web", 12)
        filler = fill(disk) if what == "bytes" else _fill_inodes(disk)
        try:
            told = [faults.try_to(partial(create, on, name, 1)) for name in ("a", "b")]
            faults.try_to(lambda: scale(on, "web", 14))
            for container in sorted(faults.live_cgroups(on) - kept)[:2]:
                faults.kill(faults.pids_of(on, container)[:1])
            eventually(lambda: "no space left on device" in _said(on).lower(), "it is said", show=lambda: _said(on))
            eventually(lambda: faults.try_to(lambda: call(on, "GET", "/_ping")), "it answers", show=on.log)
        finally:
            run("rm", "-rf", str(filler))
        faults.ensure_running(on)
        found = {
            one["Spec"]["Name"]: one["Spec"]["Mode"]["Replicated"]["Replicas"] for one in call(on, "GET", "/services")
        }
        for name, done in zip(("a", "b"), told, strict=True):
            assert not done or found[name] == 1
        assert found["web"] in (12, 14)
        settled(on, found, patience=90)
        assert {one["Id"] for one in faults.containers(on, "kept")} == kept
        assert call(on, "GET", f"/images/{faults.IMAGE}/json")


def test_read_only_data_root_is_said_in_one_line_at_the_start() -> None:
    with small_disk("data_root", "size=400m") as on:
        create(on, "web", 0)
        assert on.stop() == 0
        # Whoever has ended a moment ago may not have closed its files yet.
        remounted = ("mount", "-o", "remount,ro", str(on.data_root))
        eventually(lambda: run(*remounted, check=False).returncode == 0, "the disk is read-only", show=on.log)
        before = len(on.log_file.read_text())
        try:
            on.start(wait=False)
            process = on.process
            assert process is not None
            eventually(lambda: process.poll() is not None, "it ends", show=on.log)
            assert process.returncode == 1
            # The network process, which lives on, writes to the same log.
            said = [line for line in on.log_file.read_text()[before:].splitlines() if line.startswith("shoald: ")]
            assert len(said) == 1, on.log()
            assert "Read-only file system" in said[0]
            assert "Traceback" not in on.log()
        finally:
            run("mount", "-o", "remount,rw", str(on.data_root))
        on.start()
        ensure_running(on)
        scale(on, "web", 2)
        settled(on, {"web": 2})


def test_daemon_without_descriptors_recovers_when_it_has_some_again() -> None:
    with faults.swarm("fds") as on:
        create(on, "web", 3)
        settled(on, {"web": 3})
        before = faults.live_cgroups(on)
        limit = resource.prlimit(on.pid, resource.RLIMIT_NOFILE)[0]
        used = len(list(Path(f"/proc/{on.pid}/fd").iterdir()))
        run("prlimit", f"--pid={on.pid}", f"--nofile={used + 5}:")
        done = faults.try_to(lambda: scale(on, "web", 20))
        for container in sorted(before)[:1]:
            faults.kill(faults.pids_of(on, container)[:1])
        for _ in range(20):
            faults.try_to(lambda: call(on, "GET", "/services"))
        eventually(lambda: "too many open files" in _said(on).lower(), "it is said", show=lambda: _said(on))
        assert on.process is not None
        assert on.process.poll() is None, on.log()
        run("prlimit", f"--pid={on.pid}", f"--nofile={limit}:")
        ensure_running(on)
        if not done:
            eventually(lambda: faults.try_to(lambda: scale(on, "web", 20)), "it can be scaled", show=on.log)
        settled(on, {"web": 20}, patience=90)
        assert sorted(before)[1:] == sorted(before & faults.live_cgroups(on))
        faults.remove_all(on)
        faults.nothing_remains(on)
        faults.leave(on)
        assert on.stop() == 0
        assert not on.leftovers()
