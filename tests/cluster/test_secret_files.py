"""Secrets and configs in containers, with each runtime: what a container sees of them, and what is left of them."""

# ruff: noqa: ASYNC110 - tests wait for conditions

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.runtime.containers import Containers
from shoal.runtime.types import Container, ContainerConfig, LogOptions, Mount, SecretFile
from tests.cluster.runtime_site import Site, config, is_running, until
from tests.cluster.test_mount_kinds import runtime as each_runtime
from tests.cluster.test_runtime_containers import site as runtime_site

pytestmark = pytest.mark.root
site = runtime_site
runtime = each_runtime

CANARY = b"canary-of-secret-files-51c9"


async def run(containers: Containers, made: ContainerConfig, files: Sequence[SecretFile]) -> tuple[int, str]:
    """Run a container with these files to its end, and remove it. Returns its exit code and its output."""
    container = await containers.create(made)
    await containers.start(container.id, files)
    ended = await containers.wait(container.id)
    lines = [line.data async for line in containers.logs(container.id, LogOptions())]
    await containers.remove(container.id, volumes=True)
    return ended.exit_code, b"".join(lines).decode()


def mounted(text: str) -> list[str]:
    """Return the lines of this host's mounts with a text."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if text in line]


def files_with_canary(*folders: Path) -> list[str]:
    paths = [path for folder in folders for path in folder.rglob("*")]
    return [str(path) for path in paths if path.is_file() and not path.is_symlink() and CANARY in path.read_bytes()]


def leave(bundle: Path) -> None:
    """Leave what a daemon leaves that dies between writing the files and the start."""
    (bundle / "secrets").mkdir(parents=True)
    subprocess.run(["mount", "-t", "ramfs", "ramfs", bundle / "secrets"], check=True)
    (bundle / "secrets/0").write_bytes(CANARY)


def read_as_nobody(place: str) -> tuple[int, bytes]:
    """Read a file that root can read as another user. Returns the exit code and what was read."""
    assert Path(place).read_bytes() == CANARY
    done = subprocess.run(["cat", place], user=65534, group=65534, extra_groups=[], capture_output=True, check=False)
    return done.returncode, done.stdout


async def test_known_fault_48_a_container_sees_owner_and_mode_as_asked(site: Site, runtime: str) -> None:
    files = (
        SecretFile("/run/secrets/plain", CANARY),
        SecretFile("/run/secrets/mine", CANARY, 1000, 1001, 0o400),
        SecretFile("/etc/deep/er/conf", b"text", 0, 2000, 0o640),
        SecretFile("/data/seed", b"over a file of the image", mode=0o555),
    )
    targets = [file.target for file in files]
    script = f"stat -c '%n %u %g %a' {' '.join(targets)}; cat /run/secrets/mine /data/seed"
    async with site.containers() as containers:
        code, said = await run(containers, config("sees", "sh", "-c", script), files)
    assert code == 0
    assert said.splitlines() == [
        "/run/secrets/plain 0 0 444",
        "/run/secrets/mine 1000 1001 400",
        "/etc/deep/er/conf 0 2000 640",
        "/data/seed 0 0 555",
        CANARY.decode() + "over a file of the image",
    ]


async def test_nobody_in_the_container_can_change_them(site: Site, runtime: str) -> None:
    script = (
        "for f in /run/secrets/s /conf; do echo x >> $f && echo open $f; chmod 777 $f && echo chmod $f; "
        "rm $f && echo gone $f; mount -o remount,bind,rw $f && echo x >> $f && echo remounted $f; done 2>/dev/null; "
        "cat /run/secrets/s; echo end"
    )
    (site.images.root / "bin/rm").symlink_to("busybox")
    files = (SecretFile("/run/secrets/s", b"kept\n", mode=0o666), SecretFile("/conf", b"kept\n", mode=0o666))
    made = config("changes", "sh", "-c", script, cap_add=("ALL",), apparmor="disabled", seccomp="unconfined")
    async with site.containers() as containers:
        _, said = await run(containers, made, files)
    assert said == "kept\nend\n"


async def test_other_users_of_the_container_read_what_the_mode_lets_them(site: Site, runtime: str) -> None:
    files = (
        SecretFile("/run/secrets/all", b"all"),
        SecretFile("/run/secrets/ann", b"ann", 1000, 1001, 0o400),
        SecretFile("/run/secrets/root", b"root", mode=0o400),
    )
    async with site.containers() as containers:
        _, said = await run(
            containers, config("ann", "sh", "-c", "cd /run/secrets; cat all ann root; echo", user="ann"), files
        )
    assert "allann" in said
    assert "can't open 'root': Permission denied" in said


async def test_links_of_the_image_lead_nowhere_on_the_host(site: Site, runtime: str) -> None:
    victim = site.folder / "victim"
    victim.mkdir()
    (victim / "file").write_text("of the host")
    root = site.images.root
    (root / "run").mkdir()
    (root / "run/secrets").symlink_to(victim)
    (root / "link").symlink_to(victim / "file")
    (root / "up").symlink_to("../../../../../../.." + str(victim))
    files = (
        SecretFile("/run/secrets/file", CANARY),
        SecretFile("/run/secrets/new", CANARY),
        SecretFile("/link", CANARY),
        SecretFile("/up/other", CANARY),
    )
    async with site.containers() as containers:
        code, said = await run(containers, config("links", "cat", *(file.target for file in files)), files)
    assert (code, said) == (0, CANARY.decode() * len(files))
    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "of the host"


async def test_a_place_below_proc_is_refused(site: Site, runtime: str) -> None:
    async with site.containers() as containers:
        container = await containers.create(config("proc"))
        with pytest.raises(ShoalError, match="cannot be mounted because it is inside /proc"):
            await containers.start(container.id, [SecretFile("/proc/self/attr/exec", CANARY)])
        assert mounted(f"{container.id}/secrets") == []
        await containers.remove(container.id)


async def test_they_lie_below_mounts_and_not_in_two_places(site: Site, runtime: str) -> None:
    mounts = (Mount("tmpfs", "/run"), Mount("volume", "/srv", "v"))
    files = (SecretFile("/run/secrets/s", b"in a tmpfs "), SecretFile("/srv/conf", b"in a volume"))
    async with site.containers() as containers:
        _, said = await run(
            containers, config("below", "cat", "/run/secrets/s", "/srv/conf", mounts=mounts, read_only=True), files
        )
        assert said == "in a tmpfs in a volume"
        container = await containers.create(config("twice", mounts=mounts))
        with pytest.raises(ShoalError, match="Duplicate mount point: /srv"):
            await containers.start(container.id, [SecretFile("/srv", b"x")])
        await containers.remove(container.id)


async def test_they_are_in_memory_alone_and_gone_with_the_container(site: Site, runtime: str) -> None:
    files = (SecretFile("/run/secrets/s", CANARY),)
    async with site.containers() as containers:
        container = await containers.create(config("gone"))
        await containers.start(container.id, files)
        (line,) = mounted(f"{container.id}/secrets")
        assert line.split(" - ")[1].startswith("ramfs ")
        folder = site.paths.bundles / container.id / "secrets"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert files_with_canary(site.paths.data_root) == []
        assert files_with_canary(site.paths.exec_root) == [str(folder / "0")] + [
            str(path) for path in _views(container, site)
        ]
        await containers.stop(container.id, 0)
        await until(lambda: not mounted(f"{container.id}/secrets"))
        assert files_with_canary(site.paths.data_root, site.paths.exec_root) == []
        await containers.remove(container.id)
    assert [line for line in mounted(str(site.folder)) if "/secrets " in line] == []


def _views(container: Container, site: Site) -> list[Path]:
    """Return the container's files as they are seen from the host: none, as it has them in its own namespace."""
    root = site.paths.bundles / container.id / "rootfs"
    return [path for path in (root / "run/secrets/s",) if path.exists() and path.read_bytes()]


async def test_a_local_user_reads_nothing(site: Site, runtime: str) -> None:
    async with site.containers() as containers:
        container = await containers.create(config("local"))
        container = await containers.start(container.id, [SecretFile("/run/secrets/s", CANARY)])
        places = [
            str(site.paths.bundles / container.id / "secrets/0"),
            f"/proc/{container.pid}/root/run/secrets/s",
            f"/proc/{os.getpid()}/root{site.paths.bundles / container.id}/secrets/0",
        ]
        for place in places:
            assert read_as_nobody(place) == (1, b"")
        await containers.remove(container.id, force=True)


async def test_a_running_container_keeps_them_over_a_restart_of_the_daemon(site: Site, runtime: str) -> None:
    script = "while sleep 0.1; do cat /run/secrets/s; done"
    async with site.containers() as containers:
        container = await containers.create(config("keeps", "sh", "-c", script))
        await containers.start(container.id, [SecretFile("/run/secrets/s", b"kept\n")])
    async with site.containers() as containers:
        assert is_running(containers.get("keeps"))
        count = len([line async for line in containers.logs("keeps", LogOptions())])
        async with asyncio.timeout(30):
            while len([line async for line in containers.logs("keeps", LogOptions())]) < count + 3:
                await asyncio.sleep(0.05)
        lines = {line.data async for line in containers.logs("keeps", LogOptions())}
        assert lines == {b"kept\n"}
        await containers.remove("keeps", force=True)
        assert mounted(f"{container.id}/secrets") == []


async def test_what_a_crash_left_is_swept(site: Site, runtime: str) -> None:
    """A container that ended while no daemon ran, one that was never started, and a bundle of none."""
    async with site.containers() as containers:
        ended = await containers.create(config("ended"))
        made = await containers.create(config("made"))
        await containers.start(ended.id, [SecretFile("/run/secrets/s", CANARY)])
        pid = containers.get(ended.id).pid
    stray = site.paths.bundles / ("f" * 64)
    for bundle in (site.paths.bundles / made.id, stray):
        leave(bundle)
    os.kill(pid, 9)
    async with site.containers() as containers:
        await until(lambda: not mounted(f"{ended.id}/secrets"))
        assert not stray.exists()
        await containers.start(made.id, [SecretFile("/run/secrets/s", b"new")])
        assert len(mounted(f"{made.id}/secrets")) == 1
        assert (site.paths.bundles / made.id / "secrets/0").read_bytes() == b"new"
        for name in ("ended", "made"):
            await containers.remove(name, force=True)
    assert files_with_canary(site.folder) == []
    assert [line for line in mounted(str(site.folder)) if "/secrets " in line] == []
