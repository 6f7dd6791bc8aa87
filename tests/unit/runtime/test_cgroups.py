"""Cgroup layouts are recognized."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.runtime.cgroups import Cgroups, Layout, parse_mounts

HYBRID = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_layouts() -> None:
    layout, mounts = parse_mounts(HYBRID)
    assert layout is Layout.HYBRID
    assert mounts == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "systemd": "/sys/fs/cgroup/systemd",
        "": "/sys/fs/cgroup/unified",
    }
    assert parse_mounts(UNIFIED) == (Layout.UNIFIED, {"": "/sys/fs/cgroup"})
    assert parse_mounts("\n".join(HYBRID.splitlines()[:2]))[0] is Layout.LEGACY


def test_two_daemons_have_two_parents() -> None:
    one, other = Cgroups("abc", HYBRID), Cgroups("def", UNIFIED)
    assert one.path("1") == "/shoal-abc/1"
    assert one.folder("1", "memory") == "/sys/fs/cgroup/memory/shoal-abc/1"
    assert one.folder("1", "blkio") == ""
    assert other.folder("1", "memory") == "/sys/fs/cgroup/shoal-def/1"


DEEP = 120


@pytest.fixture
def no_recursion() -> Iterator[None]:
    """Lower the recursion limit below the depth of the tree."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + DEEP // 2)
    yield
    sys.setrecursionlimit(before)


def tree(folder: Path) -> Cgroups:
    """Return a container's cgroup of v2 as files, with one group below another, whose freezer reports success."""
    at = f"{folder}/shoal-abc/1"
    os.makedirs(at)
    for _ in range(DEEP):
        Path(at, "cgroup.freeze").write_text("1")
        at += "/d"
        os.mkdir(at)
    return Cgroups("abc", f"41 31 0:38 / {folder} rw - cgroup2 cgroup2 rw\n")


@pytest.mark.usefixtures("no_recursion")
def test_what_is_frozen_is_thawed_however_deep(tmp_path: Path) -> None:
    top = f"{tmp_path}/shoal-abc/1"
    tree(tmp_path).thaw("1")
    states = [f"{top}{'/d' * depth}/cgroup.freeze" for depth in range(DEEP)]
    assert {Path(path).read_text() for path in states} == {"0"}


@pytest.mark.usefixtures("no_recursion")
def test_a_deep_tree_is_removed(tmp_path: Path) -> None:
    cgroups = tree(tmp_path)
    for depth in range(DEEP):  # the kernel's files disappear with their folder
        os.unlink(f"{tmp_path}/shoal-abc/1{'/d' * depth}/cgroup.freeze")
    assert cgroups.remove("1")
    assert not (tmp_path / "shoal-abc/1").exists()


def test_conmons_are_beside_the_containers_and_none_of_them(tmp_path: Path) -> None:
    cgroups = Cgroups("abc", f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "shoal-abc" / "container").mkdir(parents=True)
    cgroups.keep_apart(4711)
    assert (tmp_path / "shoal-abc" / "conmon" / "cgroup.procs").read_text() == "4711"
    assert cgroups.ids() == {"container"}


def test_nothing_is_left_of_them_with_the_last_container(tmp_path: Path) -> None:
    cgroups = Cgroups("abc", f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "shoal-abc" / "conmon").mkdir(parents=True)
    assert cgroups.remove_parent()
    assert not (tmp_path / "shoal-abc").exists()


def test_a_host_that_has_no_place_for_a_conmon_starts_containers_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    Cgroups("abc", f"41 31 0:38 / {tmp_path}/file rw - cgroup2 cgroup2 rw\n").keep_apart(4711)
    assert "process 4711 stays in the daemon's cgroup" in caplog.text
    Cgroups("abc", HYBRID.splitlines()[1]).keep_apart(4711)  # neither v2 nor systemd's, so nobody counts them


def test_who_holds_a_part_of_the_tree_is_seen_by_others(tmp_path: Path) -> None:
    mounts = f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    one, other = Cgroups("abc", mounts), Cgroups("abc", mounts)
    assert not other.is_claimed()
    assert one.claim()
    assert other.is_claimed()
    one.release()
    assert not other.is_claimed()


@pytest.mark.root
def test_a_mount_point_of_the_host_may_have_any_name() -> None:
    program = """if True:
        import os, tempfile
        from pathlib import Path
        from shoal.host import linux
        from shoal.runtime import rootfs
        from shoal.runtime.cgroups import Cgroups
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
        top = tempfile.mkdtemp()
        points = [f"{top}/{os.fsdecode(name)}" for name in (b"\\xff", b"\\xc2\\x85 \\xe2\\x80\\xa8")]
        for point in points:
            os.mkdir(point)
            linux.mount("none", point, "tmpfs")
        try:
            Cgroups("test")
            found = rootfs.mounted_below(Path(top))
        finally:
            for point in points:
                linux.umount(point)
                os.rmdir(point)
            os.rmdir(top)
        assert found == points, found
    """
    subprocess.run(["unshare", "-m", sys.executable, "-c", program], check=True, timeout=60)
