"""Ways by which an image or a container might try to reach the host: links, mounts, volumes, working folders, user
files.
"""

import contextlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.errors import InvalidArgument, ShoalError
from shoal.runtime import mount_targets, rootfs
from shoal.runtime.containers import Containers
from shoal.runtime.exec import Execs
from shoal.runtime.failures import StartFailed
from shoal.runtime.types import ContainerConfig, ExecConfig, Mount
from tests.cluster.runtime_site import Site, config, output
from tests.cluster.test_runtime_containers import site as runtime_site

pytestmark = pytest.mark.root
site = runtime_site


@pytest.fixture
async def containers(site: Site) -> AsyncIterator[Containers]:
    async with site.containers() as made:
        yield made


@pytest.fixture
def host_folder(site: Site) -> Path:
    """Return a folder of the host with a secret in it, which no container may see."""
    folder = site.folder / "of-the-host"
    folder.mkdir()
    (folder / "secret").write_text("the host's")
    return folder


async def refused(containers: Containers, made: ContainerConfig) -> str:
    """Return why a container could not be made or started."""
    with pytest.raises(ShoalError) as told:
        await output(containers, made)
    for one in containers.list():
        await containers.remove(one.id, force=True, volumes=True)
    return str(told.value)


@pytest.mark.parametrize("kind", ["tmpfs", "volume"])
@pytest.mark.parametrize("target", ["/proc", "/link", "/proc/self/attr", "/link/sys"])
async def test_nothing_is_mounted_over_proc(site: Site, containers: Containers, kind: str, target: str) -> None:
    (site.images.root / "link").symlink_to("/proc")
    mount = Mount("tmpfs" if kind == "tmpfs" else "volume", target)
    told = await refused(containers, config("over", mounts=(mount,)))
    place = target.replace("/link", "/proc")
    why = "is not of type proc" if place == "/proc" else "is inside /proc"
    assert f'"{place}" cannot be mounted because it {why}' in told


@pytest.mark.parametrize("link", ["/proc/self/attr", "/proc", "/proc/sys/kernel"])
async def test_nothing_is_mounted_over_proc_by_a_link_that_comes_late(
    site: Site, containers: Containers, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """Another container with the volume can put the link there just after our check, so this test leaves the check
    out.
    """
    monkeypatch.setattr(mount_targets, "refusal", lambda *_: None)
    volume = await site.volumes.create("shared", "local", {}, {})
    Path(volume.mountpoint, "late").symlink_to(link)
    mounts = (Mount("volume", "/v", "shared", no_copy=True), Mount("tmpfs", "/v/late"))
    told = await refused(containers, config("late", mounts=mounts))
    assert "cannot be mounted because" in told


async def test_no_volume_of_an_image_hides_proc(site: Site, containers: Containers) -> None:
    site.images.config["Volumes"] = {"/proc": {}}
    assert "not of type proc" in await refused(containers, config("image"))


async def test_mount_targets_stay_in_the_root(site: Site, containers: Containers, host_folder: Path) -> None:
    root = site.images.root
    (root / "up").symlink_to(f"../../../../../../../../..{host_folder}")
    (root / "magic").symlink_to(f"/proc/1/root{host_folder}")
    try:  # crun makes no folders behind a link to nowhere; runc makes them in the root
        assert (await output(containers, config("up", "ls", "/up", mounts=(Mount("tmpfs", "/up/made"),))))[
            1
        ] == "made\n"
    except StartFailed:
        await containers.remove("up")
    assert os.listdir(host_folder) == ["secret"]
    assert "inside /proc" in await refused(containers, config("magic", mounts=(Mount("tmpfs", "/magic/made"),)))
    assert os.listdir(host_folder) == ["secret"]


@pytest.mark.parametrize("name", ["resolv.conf", "hosts", "hostname"])
async def test_files_of_etc_are_not_written_through_links(
    site: Site, containers: Containers, host_folder: Path, name: str
) -> None:
    root = site.images.root
    (root / "etc" / name).symlink_to(f"/../../../../../../..{host_folder}/{name}")
    code, _ = await output(containers, config("dangling", "test", "-s", f"/etc/{name}"))
    assert code == 0
    (root / "etc" / name).unlink()
    (root / "etc" / name).symlink_to(f"/proc/1/root{host_folder}/secret")
    try:  # some versions of crun refuse to mount there, later ones find nothing behind the link
        await output(containers, config("magic", "true"))
    except StartFailed:
        await containers.remove("magic")
    assert os.listdir(host_folder) == ["secret"]
    assert (host_folder / "secret").read_text() == "the host's"


@pytest.mark.parametrize("kind", ["outside", "magic", "folder", "fifo", "loop", "vast"])
async def test_user_files_that_are_not_what_they_should_be(
    site: Site, containers: Containers, host_folder: Path, kind: str
) -> None:
    (host_folder / "secret").write_text("ann:x:4242:4242::/:/bin/sh\n")
    passwd = site.images.root / "etc/passwd"
    passwd.unlink()
    match kind:
        case "outside":
            passwd.symlink_to(f"../../../../../../../../..{host_folder}/secret")
        case "magic":
            passwd.symlink_to(f"/proc/{os.getpid()}/root{host_folder}/secret")
        case "folder":
            passwd.mkdir()
        case "fifo":
            os.mkfifo(passwd)
        case "loop":
            passwd.symlink_to("passwd")
        case "vast":
            with passwd.open("wb") as file:
                file.truncate(20 << 30)
    told = await refused(containers, config("ann", user="ann"))
    assert "unable to find user ann: no matching entries in passwd file" in told
    assert (await output(containers, config("root", "pwd")))[0] == 0


async def test_working_folders_are_not_the_hosts(site: Site, containers: Containers, host_folder: Path) -> None:
    (site.images.root / "up").symlink_to(f"../../../../../../../../..{host_folder}")
    for number in range(3, 16):
        (site.images.root / f"fd{number}").symlink_to(f"/proc/self/fd/{number}")
    looks = (
        "sh",
        "-c",
        f"cat secret; cat ../../../../../../../../../..{host_folder}/secret; cat /proc/self/cwd/secret",
    )
    for folder in ("/up", "/up/more", *(f"/fd{number}" for number in range(3, 16))):
        try:
            _, said = await output(containers, config("cwd", *looks, working_dir=folder))
        except ShoalError:
            await containers.remove("cwd")
            said = ""
        assert "the host's" not in said, folder
    assert os.listdir(host_folder) == ["secret"]
    execs = Execs(containers)
    await containers.create(config("exec"))
    await containers.start("exec")
    for number in range(3, 16):
        settings = ExecConfig(
            command=looks, working_dir=f"/proc/self/fd/{number}", attach_stdout=True, attach_stderr=True
        )
        attachment = await execs.start(execs.create("exec", settings))
        said = b"".join([data async for _, data in attachment.output()]).decode()
        await attachment.close()
        assert "the host's" not in said, number


async def test_a_part_of_a_volume_stays_in_the_volume(site: Site, containers: Containers, host_folder: Path) -> None:
    await site.volumes.create("shared", "local", {}, {})
    folder = Path(site.volumes.get("shared").mountpoint)
    (folder / "part").mkdir()
    (folder / "part" / "own").write_text("the volume's")
    mount = Mount("volume", "/part", "shared", subpath="part")
    look = ("sh", "-c", "cat /part/*")
    assert (await output(containers, config("before", *look, mounts=(mount,))))[1] == "the volume's"
    # Another container with the whole volume puts a link in its place, before this one is started.
    made = await containers.create(config("after", *look, mounts=(mount,)))
    (folder / "part").rename(folder / "elsewhere")
    (folder / "part").symlink_to(host_folder)
    with pytest.raises(InvalidArgument, match="cannot access path"):
        await containers.start("after")
    await containers.remove(made.id)
    for number, path in enumerate(("../../of-the-host", "part", "part/../../../of-the-host", str(host_folder))):
        mount = Mount("volume", "/part", "shared", subpath=path)
        assert "cannot access path" in await refused(containers, config(f"out{number}", *look, mounts=(mount,)))


def _swap(folder: Path, to: Path, until: threading.Event) -> None:
    """Let a folder be one, a link to another place, and nothing, in turn."""
    folder.mkdir()
    (folder / "own").write_text("the volume's")
    link, aside = folder.with_name("link"), folder.with_name("aside")
    link.symlink_to(to)
    while not until.is_set():
        for former, name in ((folder, aside), (link, folder), (folder, link), (aside, folder)):
            former.rename(name)


def _litter(folder: Path, to: Path, until: threading.Event) -> None:
    """Put links where a volume is filled, and take everything away again."""
    while not until.is_set():
        for name in ("seed", "more", "lost+found"):
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(to / "secret")
        for one in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                one.unlink()


@pytest.mark.parametrize("what", ["part", "filling"])
async def test_a_volume_that_changes_while_containers_start_leads_to_no_file_of_the_hosts(
    site: Site, containers: Containers, host_folder: Path, what: str
) -> None:
    """Another container with the volume changes it as fast as it can."""
    (site.images.root / "data" / "more").write_text("from the image")
    made = await site.volumes.create("raced", "local", {}, {})
    folder, until = Path(made.mountpoint), threading.Event()
    if what == "part":
        mount = Mount("volume", "/part", "raced", subpath="part")
        racer = threading.Thread(target=_swap, args=(folder / "part", host_folder, until))
    else:
        mount = Mount("volume", "/data", "raced")
        racer = threading.Thread(target=_litter, args=(folder, host_folder, until))
    script = f"echo written > {mount.target}/secret; cat {mount.target}/secret {mount.target}/own"
    racer.start()
    began = 0
    try:
        for number in range(400):
            if number >= 40 and began:
                break
            name = f"c{number}"
            try:
                _, said = await output(containers, config(name, "sh", "-c", script, mounts=(mount,)))
                began += 1
                assert "the host's" not in said
            except (ShoalError, OSError):
                for one in containers.list():
                    await containers.remove(one.id, force=True)
            assert (host_folder / "secret").read_text() == "the host's"
    finally:
        until.set()
        racer.join()
    assert began  # so that there was something to attack
    assert os.listdir(host_folder) == ["secret"]


@pytest.mark.parametrize("propagation", ["", "rprivate", "rslave", "rshared"])
async def test_only_shared_mounts_reach_the_host(
    site: Site, containers: Containers, host_folder: Path, propagation: str
) -> None:
    mount = Mount("bind", "/outside", str(host_folder), propagation=propagation)
    inside = "mkdir -p /outside/m && mount -t tmpfs tmpfs /outside/m && touch /outside/m/inside && echo mounted"
    made = config("prop", "sh", "-c", inside, mounts=(mount,), cap_add=("SYS_ADMIN",), seccomp="unconfined")
    if containers.apparmor and propagation != "rshared":  # the profile refuses every mount
        assert "mounted" not in (await output(containers, made))[1]
        assert not rootfs.mounted_below(host_folder)
    made = replace(made, apparmor="disabled")
    try:
        _, said = await output(containers, made)
    except StartFailed:  # the host's own mount is private, and there a shared one is refused, as in Docker
        assert propagation == "rshared"
        await containers.remove("prop")
        return
    assert "mounted" in said
    try:
        assert propagation == "rshared" or not rootfs.mounted_below(host_folder)
    finally:
        rootfs.unmount_below(host_folder)
