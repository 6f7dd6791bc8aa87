"""Containers that fill the disk with their logs and their files, and stay: what else runs goes on, all else is said."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.runtime.containers import Containers
from shoal.runtime.types import LogOptions, Phase
from tests.cluster.runtime_site import Site, config, output, until
from tests.cluster.test_runtime_containers import site as runtime_site
from tests.harness.hosts import PATIENCE, run

pytestmark = pytest.mark.root
site = runtime_site

SIZE = 24 << 20
# A start whose record finds no room has failed, so nothing is written before the start has ended.
WAIT = "trap go=1 USR1; echo ready; while [ -z $go ]; do sleep 0.1; done; "


@pytest.fixture
async def disk(site: Site) -> AsyncIterator[Path]:
    """A small disk with the containers' folders: their logs, their files, their records."""
    folder = site.paths.containers
    folder.mkdir(mode=0o700, parents=True)
    run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder))
    yield folder
    async with site.containers() as containers:
        for one in containers.list():
            await containers.remove(one.id, force=True, volumes=True)
    assert os.listdir(folder) == []
    run("umount", str(folder))


def room(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


async def fill(containers: Containers, disk: Path) -> None:
    log = Path(containers.get("filler").log_path)
    await until(lambda: "ready" in log.read_text(), within=PATIENCE)
    await containers.kill("filler", "USR1")
    await until(lambda: room(disk) == 0, within=PATIENCE)


@pytest.mark.parametrize("how", ["log", "file"])
async def test_a_container_that_fills_the_disk_stops_no_other(site: Site, disk: Path, how: str) -> None:
    script = (
        WAIT
        + {
            "log": "exec yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "file": "cat /dev/zero > /big; echo full; exec sleep 1000000",
        }[how]
    )
    async with site.containers() as containers:
        kept = await containers.create(config("kept"))
        await containers.start("kept")
        made = await containers.create(config("filler", "sh", "-c", script, stop_signal="KILL"))
        await containers.start("filler")
        await fill(containers, disk)
        # Its log is read, as far as there was room for it.
        assert len([line async for line in containers.logs("filler", LogOptions(tail=1))]) <= 1
        with pytest.raises((ShoalError, OSError), match=r"[Nn]o space left on device"):
            await output(containers, config("late", "true"))
        assert containers.get("kept").phase is Phase.RUNNING
        # A change of state that cannot be written to the full disk is known all the same.
        await containers.kill("kept")
        ended = await containers.wait("kept")
        assert (ended.phase, ended.exit_code) == (Phase.EXITED, 137)
        await containers.stop("filler", 0)
        for name in (kept.id, made.id):
            await containers.remove(name, force=True)
        for one in containers.list():  # what of `late` was made before there was no room
            await containers.remove(one.id, force=True)
        await until(lambda: room(disk) > SIZE // 2, within=PATIENCE)
        assert await output(containers, config("after", "echo", "well")) == (0, "well\n")


async def test_a_daemon_that_starts_on_a_full_disk_finds_what_runs(site: Site, disk: Path) -> None:
    async with site.containers() as containers:
        script = WAIT + "cat /dev/zero > /big; exec sleep 1000000"
        await containers.create(config("filler", "sh", "-c", script))
        await containers.start("filler")
        await fill(containers, disk)
    async with site.containers() as containers:
        (found,) = containers.list()
        assert found.phase is Phase.RUNNING
        await containers.remove(found.id, force=True)
        await until(lambda: room(disk) > SIZE // 2, within=PATIENCE)
