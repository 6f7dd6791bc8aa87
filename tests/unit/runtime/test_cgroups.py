"""Cgroup layouts are told apart."""

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
