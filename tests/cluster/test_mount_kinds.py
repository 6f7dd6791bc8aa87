"""Every kind of mount, of every kind of file, read-only and writable, with each runtime. One start mounts them all."""

import os
import socket
import stat
from pathlib import Path

import pytest

from shoal.runtime.types import Mount
from tests.cluster.runtime_site import Site, config, output
from tests.cluster.test_runtime_containers import site as runtime_site
from tests.cluster.test_runtime_containers import without_crun

pytestmark = pytest.mark.root
site = runtime_site
THINGS = ("folder", "file", "socket", "device", "empty")


def make(folder: Path, thing: str) -> None:
    """Make a file of this kind in a folder, with the kind as its name."""
    path = folder / thing
    match thing:
        case "folder":
            path.mkdir()
            (path / "seed").write_text("seed")
        case "file":
            path.write_text("seed")
        case "empty":
            path.touch()
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                here = Path.cwd()
                os.chdir(folder)  # a socket's whole path may be too long
                listening.bind(thing)
                os.chdir(here)
        case "device":
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "runc":
        without_crun(monkeypatch)
    return str(request.param)


async def test_things_of_every_kind_are_mounted(site: Site, runtime: str) -> None:
    host, volume = site.folder / "host", await site.volumes.create("v", "local", {}, {})
    host.mkdir()
    for thing in THINGS:
        make(host, thing)
        make(Path(volume.mountpoint), thing)
    mounts = []
    for thing in THINGS:
        for read_only in (True, False):
            at = f"{thing}-{'ro' if read_only else 'rw'}"
            mounts += [
                Mount("bind", f"/bind-{at}", str(host / thing), read_only=read_only),
                Mount("bind", f"/flat-{at}", str(host / thing), read_only=read_only, non_recursive=True),
                Mount("bind", f"/slave-{at}", str(host / thing), read_only=read_only, propagation="rslave"),
                Mount("bind", f"/shared-{at}", str(host / thing), read_only=read_only, propagation="rshared"),
                Mount("volume", f"/part-{at}", "v", subpath=thing, read_only=read_only),
            ]
    for read_only in (True, False):
        at = "ro" if read_only else "rw"
        mounts += [
            Mount("volume", f"/volume-{at}", "v", read_only=read_only),
            Mount("volume", f"/anonymous-{at}", read_only=read_only),
            Mount("tmpfs", f"/tmpfs-{at}", read_only=read_only),
        ]
    # Here `ro` is the mount's own flag; the file system's flags come after the dash.
    script = r"sed -n 's/^[0-9]* [0-9]* [^ ]* [^ ]* \(\/[^ ]*\) \([a-z]*\).*/\1=\2/p' /proc/self/mountinfo; "
    script += "for f in /*-rw; do if test -d $f; then touch $f/x || echo lost $f; "
    script += "elif test -f $f; then echo x >> $f || echo lost $f; fi; done; "
    script += "for f in /*-ro; do if test -d $f; then touch $f/x && echo open $f; "
    script += "elif test -f $f; then echo x >> $f && echo open $f; fi; done; echo end"
    (site.images.root / "bin/sed").symlink_to("busybox")
    async with site.containers() as containers:
        assert containers.runtime_name == runtime
        code, said = await output(containers, config("all", "sh", "-c", script, mounts=tuple(mounts)))
    assert code == 0
    assert "end\n" in said
    assert "lost" not in said
    assert "open" not in said
    found = dict(line.split("=") for line in said.splitlines() if line.startswith("/") and "=" in line)
    assert {mount.target: found.get(mount.target) for mount in mounts} == {
        mount.target: "ro" if mount.read_only else "rw" for mount in mounts
    }


async def test_what_every_stack_file_mounts(site: Site, runtime: str) -> None:
    """Files of the host, read-only, over files of the image."""
    mounts = (
        Mount("bind", "/etc/hosts", "/etc/hosts", read_only=True),
        Mount("bind", "/etc/passwd", "/etc/passwd", read_only=True),
        Mount("bind", "/dev/null", "/dev/null", read_only=True),
    )
    async with site.containers() as containers:
        _, said = await output(containers, config("file", "cat", "/etc/hosts", mounts=mounts))
    assert said == Path("/etc/hosts").read_text()


async def test_a_read_only_root_has_read_only_files_in_etc(site: Site, runtime: str) -> None:
    script = (
        "for f in hosts hostname resolv.conf; do test -s /etc/$f && echo x >> /etc/$f && echo open $f; done; echo end"
    )
    async with site.containers() as containers:
        _, closed = await output(containers, config("ro", "sh", "-c", script, read_only=True))
        _, open_ = await output(containers, config("rw", "sh", "-c", script))
    assert "open" not in closed
    assert closed.count("Read-only file system") == 3
    assert open_ == "open hosts\nopen hostname\nopen resolv.conf\nend\n"


async def test_a_tmpfs_keeps_the_mode_of_the_folder_that_it_covers(site: Site, runtime: str) -> None:
    for name, mode in (("plain", 0o755), ("closed", 0o700), ("sticky", 0o3770)):
        (site.images.root / name).mkdir()
        (site.images.root / name).chmod(mode)
    targets = ("/plain", "/closed", "/sticky", "/new/one")
    mounts = (*(Mount("tmpfs", target) for target in targets), Mount("tmpfs", "/new/two", tmpfs_mode=0o711))
    async with site.containers() as containers:
        _, said = await output(containers, config("t", "stat", "-c", "%a", *targets, "/new/two", mounts=mounts))
    assert said.split() == ["755", "700", "3770", "1777", "711"]


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), "0"),
        ("root:root", ("wheel", "777"), "0 10 777"),
        ("1000:1000", (), "1000"),
        ("ann", (), "1001 2000"),
    ],
)
async def test_the_groups_of_a_process(
    site: Site, runtime: str, user: str, groups: tuple[str, ...], expected: str
) -> None:
    with (site.images.root / "etc/group").open("a") as file:
        file.write("wheel:x:10:\n")
    show = ("sh", "-c", "grep Groups: /proc/self/status")
    async with site.containers() as containers:
        _, said = await output(containers, config("groups", *show, user=user, groups=groups))
    assert said.split()[1:] == expected.split()
