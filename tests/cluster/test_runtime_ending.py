"""What a host that goes down does with its containers, and what it knows about them when it is up again."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from shoal.runtime import ending, processes, rootfs
from shoal.runtime.cgroups import Cgroups
from shoal.runtime.types import Mount, Phase
from tests.cluster.runtime_site import Site, config, until
from tests.cluster.test_runtime_containers import site as runtime_site

pytestmark = pytest.mark.root
site = runtime_site

# Writes into the shared folder which signal it got, then takes a moment.
POLITE = "trap 'echo {0} > /shared/{0}; sleep 0.3; echo done >> /shared/{0}; exit 0' {0}; touch /shared/up{0}; {1}"
WAITING = "while :; do sleep 0.05; done"


def monitors(site: Site) -> set[int]:
    """Return the conmons in the cgroup beside the containers."""
    found: set[int] = set()
    for at in ("*", "*/*"):
        for path in Path("/sys/fs/cgroup").glob(f"{at}/shoal-{site.tag}/conmon/cgroup.procs"):
            found.update(int(line) for line in path.read_text().split())
    path = Path(f"/sys/fs/cgroup/shoal-{site.tag}/conmon/cgroup.procs")
    return found | ({int(line) for line in path.read_text().split()} if path.exists() else set())


async def test_each_container_ends_in_its_own_way_while_no_daemon_runs(site: Site) -> None:
    shared = site.folder / "shared"
    shared.mkdir()
    mount = (Mount("bind", "/shared", str(shared)),)
    async with site.containers() as containers:
        for name, command, changes in (
            ("term", POLITE.format("TERM", WAITING), {}),
            ("usr1", POLITE.format("USR1", WAITING), {"stop_signal": "USR1"}),
            ("deaf", f"trap '' TERM; touch /shared/updeaf; {WAITING}", {"stop_timeout": 1.0}),
        ):
            await containers.create(config(name, "sh", "-c", command, mounts=mount, **changes))
            await containers.start(name)
        pids = {one.config.name: one.pid for one in containers.list()}
        await until(lambda: len(list(shared.glob("up*"))) == 3)
    began = time.monotonic()
    done = await asyncio.to_thread(ending.end_all, site.paths, Cgroups(site.tag))
    took = time.monotonic() - began
    assert done == ending.Ended(asked=2, killed=1, left=0)
    assert (shared / "TERM").read_text() == "TERM\ndone\n"  # it had the time that it needed
    assert (shared / "USR1").read_text() == "USR1\ndone\n"
    assert 1.0 <= took < 8
    assert not [name for name, pid in pids.items() if processes.started(pid)]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert not [point for point in mounts if point.startswith(f"{site.paths.bundles}/")]
    assert await asyncio.to_thread(ending.end_all, site.paths, Cgroups(site.tag)) == ending.Ended(0, 0, 0)
    # If the host stayed up after all, the next daemon knows how each container ended.
    async with site.containers() as containers:
        assert {one.config.name: one.exit_code for one in containers.list()} == {"term": 0, "usr1": 0, "deaf": 137}


async def test_a_container_that_ended_with_its_host_says_so(site: Site) -> None:
    async with site.containers() as containers:
        for name in ("ran", "never"):
            await containers.create(config(name))
        await containers.start("ran")
    await asyncio.to_thread(ending.end_all, site.paths, Cgroups(site.tag))
    _lose(site.paths.exec_root)
    async with site.containers() as containers:
        ran, never = containers.get("ran"), containers.get("never")
        assert (ran.phase, ran.exit_code) == (Phase.EXITED, 255)
        assert ran.finished_at > ran.started_at
        assert (never.phase, never.exit_code) == (Phase.CREATED, 0)
        await containers.start("ran")
        assert containers.get("ran").phase is Phase.RUNNING


async def test_a_container_that_nobody_knows_is_killed(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("one"))
        container = await containers.start("one")
    (site.paths.bundles / container.id / "state.json").write_text("{")
    done = await asyncio.to_thread(ending.end_all, site.paths, Cgroups(site.tag))
    assert done == ending.Ended(asked=0, killed=1, left=0)
    (site.paths.bundles / container.id / "state.json").unlink()


async def test_conmons_are_not_in_the_daemons_cgroup(site: Site) -> None:
    """Otherwise systemd would name each in its journal at every start and stop, and `systemctl kill` would end them."""
    async with site.containers() as containers:
        await containers.create(config("one"))
        await containers.start("one")
        assert len(monitors(site)) == 1
        own = Path("/proc/self/cgroup").read_text()
        conmon = monitors(site).pop()
        # As an earlier release left it, which did not move conmons. It is moved when it is adopted.
        for line in own.splitlines():
            _, names, path = line.split(":", 2)
            for root in {"": ("unified", ""), "name=systemd": ("systemd",)}.get(names, ()):
                procs = Path(f"/sys/fs/cgroup/{root}{path}/cgroup.procs")
                if procs.exists():
                    procs.write_text(str(conmon))
        assert monitors(site) == set()
    async with site.containers():
        assert monitors(site) == {conmon}


def _lose(exec_root: Path) -> None:
    """Remove a tmpfs, as a boot does."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for point in sorted((line.split()[4] for line in lines), reverse=True):
        if point.startswith(f"{exec_root}/"):
            rootfs.unmount(Path(point))
    shutil.rmtree(exec_root)
