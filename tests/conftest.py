"""What every test needs before it runs, and what must not be there after the last."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import eventually
from tests.harness.network import LIVE

# Python 3.11 makes an event loop when pytest-asyncio asks for the one there was, and nobody closes it: a warning,
# and so an error, in whatever test runs when it is collected. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)


# Modules about several hosts. Their run takes as long as that of all others together.
MANY = frozenset(
    {
        *("cluster/test_autolock", "cluster/test_backup", "cluster/test_clocks", "cluster/test_expired"),
        *("cluster/test_failover", "cluster/test_faults_leader", "cluster/test_joining", "cluster/test_managers"),
        *("cluster/test_roles", "cluster/test_rotation", "cluster/test_stolen", "cluster/test_store_faults"),
        *("cluster/test_strangers_of_many", "cluster/test_survivor", "cluster/test_workers"),
        *("interop/test_demo_many", "interop/test_docker_manager", "interop/test_dockerd_rotation"),
        *("interop/test_dockerd_worker", "store/test_follower", "store/test_leadership", "store/test_members"),
        "cluster/test_faults_swarm",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if f"{item.path.parent.name}/{item.path.stem}" in MANY:
            item.add_marker(pytest.mark.many)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", log) for network in LIVE for name, log in network.logs()]
    return report


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Fail where a run leaves anything. Only `script/test` gives it a folder of its own, so that this can be told."""
    before = _things()
    yield
    eventually(lambda: not _things() - before, f"nothing is left of this run: {sorted(_things() - before)}", patience=5)


def _things() -> set[str]:
    found = {f"namespace {path.name}" for path in Path("/run/netns").glob(f"shoal-*-{os.getpid()}")}
    folder = Path(tempfile.gettempdir())
    if not folder.name.startswith("shoal."):
        return found
    # `p` is pytest's own folder, with as short a name as can be, because sockets lie in it.
    found |= {f"file {path}" for path in folder.iterdir() if path.name != "p"}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in (process / "cmdline").read_text(errors="replace"):
                found.add(f"process {process.name}")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return found | {f"mount {mount}" for mount in mounts if mount.startswith(f"{folder}/")}
