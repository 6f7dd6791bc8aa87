"""The OCI config of a container."""

from dataclasses import replace
from typing import Any

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.identity import Identity
from shoal.runtime.oci_spec import SpecInput, build, check_mounts, resources
from shoal.runtime.types import ContainerConfig, Mount, Ulimit

CONFIG = ContainerConfig(name="web", image="web")
GIVEN = SpecInput(
    config=CONFIG,
    args=("serve",),
    env=("A=1",),
    cwd="/",
    identity=Identity(),
    hostname="box",
    capabilities=("CAP_CHOWN",),
    rootfs="/r",
    cgroup="/shoal-x/1",
    netns="/run/netns/1",
    etc={"/etc/hosts": "/b/hosts"},
)


def spec(**changes: Any) -> dict[str, Any]:
    return build(replace(GIVEN, config=replace(CONFIG, **changes)))


def by_target(built: dict[str, Any]) -> dict[str, Any]:
    return {mount["destination"]: mount for mount in built["mounts"]}


def test_a_plain_container_is_closed_as_dockers() -> None:
    built = build(GIVEN)
    assert {one["type"] for one in built["linux"]["namespaces"]} == {"mount", "uts", "pid", "ipc", "network"}
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/acpi"} <= set(built["linux"]["maskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(built["linux"]["readonlyPaths"])
    assert built["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    mounts = by_target(built)
    assert "ro" in mounts["/sys"]["options"]
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    assert "size=67108864" in mounts["/dev/shm"]["options"]
    assert mounts["/etc/hosts"]["source"] == "/b/hosts"
    assert built["process"]["capabilities"]["bounding"] == ["CAP_CHOWN"]


@pytest.mark.parametrize(
    ("runtime", "target", "option", "path"),
    [
        ("crun", "/data", True, False),
        ("crun", "/sys/fs/cgroup-of-mine", True, False),
        ("crun", "/sys/fs/cgroup/systemd", False, False),
        ("crun", "/sys/fs/./cgroup/systemd/", False, False),
        ("runc", "/sys/fs/cgroupx", False, True),
        ("runc", "/sys/fs/cgroup/systemd", False, False),
    ],
)
def test_cgroups_of_v1_are_read_only_as_each_runtime_can(runtime: str, target: str, option: bool, path: bool) -> None:
    built = build(replace(GIVEN, runtime=runtime, mounts=(Mount("tmpfs", target),)))
    options = by_target(built)["/sys/fs/cgroup"]["options"]
    assert ("rro" in options, "/sys/fs/cgroup" in built["linux"]["readonlyPaths"]) == (option, path)
    assert "ro" in options


def test_networks() -> None:
    assert {"type": "network", "path": "/run/netns/1"} in build(GIVEN)["linux"]["namespaces"]
    alone = build(replace(GIVEN, netns="", config=replace(CONFIG, network="none")))
    assert {"type": "network"} in alone["linux"]["namespaces"]
    shared = build(replace(GIVEN, netns="", config=replace(CONFIG, network="host")))
    assert not any(one["type"] == "network" for one in shared["linux"]["namespaces"])
    assert "sysctl" not in shared["linux"]
    assert "net.ipv4.ping_group_range" in alone["linux"]["sysctl"]


def test_a_user_that_is_not_root_holds_no_capability() -> None:
    built = build(replace(GIVEN, identity=Identity(1000, 1000, (5,))))
    assert built["process"]["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}
    assert built["process"]["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [5]}


def test_limits() -> None:
    assert resources(replace(CONFIG, memory_bytes=100), swap_accounting=True)["memory"] == {"limit": 100, "swap": 200}
    limited = replace(CONFIG, memory_bytes=100, memory_swap_bytes=-1, nano_cpus=1_500_000_000, pids_limit=9)
    found = resources(limited, swap_accounting=True)
    assert found["memory"]["swap"] == -1
    assert found["cpu"] == {"period": 100_000, "quota": 150_000}
    assert found["pids"] == {"limit": 9}
    assert resources(replace(CONFIG, memory_bytes=100), swap_accounting=False)["memory"] == {"limit": 100}
    assert spec(ulimits=(Ulimit("nofile", 1, 2),))["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}
    ]


def test_mounts_come_after_their_parents_and_in_place_of_the_systems() -> None:
    mounts = (
        Mount("bind", "/a/b/c", "/src", read_only=True),
        Mount("bind", "/a", "/src", propagation="rslave", non_recursive=True),
        Mount("tmpfs", "/dev/shm", tmpfs_size_bytes=5, tmpfs_mode=0o750, read_only=True),
    )
    built = build(
        replace(
            GIVEN,
            mounts=mounts,
            mount_sources={"/a/b/c": "/elsewhere"},
            folders=frozenset({"/a/b/c"}),
            init="/usr/bin/tini",
        )
    )
    targets = [mount["destination"] for mount in built["mounts"]]
    assert targets.index("/a") < targets.index("/a/b/c")
    assert targets.count("/dev/shm") == 1
    found = by_target(built)
    assert found["/a/b/c"]["options"] == ["rbind", "rprivate", "ro", "rro"]
    assert found["/a/b/c"]["source"] == "/elsewhere"
    assert found["/a"]["options"] == ["bind", "rslave"]
    assert found["/dev/shm"]["options"] == ["noexec", "nosuid", "nodev", "ro", "mode=750", "size=5"]
    assert built["process"]["args"] == ["/sbin/docker-init", "--", "serve"]


def test_mounts_below_are_read_only_too_where_there_can_be_any() -> None:
    """crun 1.8 refuses `rro` for anything but a folder. Before, such a container never started."""
    mounts = (Mount("bind", "/file", "/f", read_only=True), Mount("volume", "/folder", "v", read_only=True))
    found = by_target(build(replace(GIVEN, mounts=mounts, folders=frozenset({"/folder"}))))
    assert found["/file"]["options"] == ["rbind", "rprivate", "ro"]
    assert found["/folder"]["options"] == ["rbind", "rprivate", "ro", "rro"]


def test_the_files_of_etc_are_read_only_with_the_root() -> None:
    assert by_target(build(GIVEN))["/etc/hosts"]["options"] == ["rbind", "rprivate"]
    closed = build(replace(GIVEN, config=replace(CONFIG, read_only=True)))
    assert by_target(closed)["/etc/hosts"]["options"] == ["rbind", "rprivate", "ro"]


def test_a_tmpfs_has_the_mode_that_was_asked_for_or_of_what_it_covers() -> None:
    mounts = (Mount("tmpfs", "/a"), Mount("tmpfs", "/b"), Mount("tmpfs", "/c", tmpfs_mode=0o700))
    found = by_target(build(replace(GIVEN, mounts=mounts, covered_modes={"/b": 0o2750, "/c": 0o711})))
    assert [found[target]["options"][-1] for target in ("/a", "/b", "/c")] == ["mode=1777", "mode=2750", "mode=700"]


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount("bind", ""), 'invalid mount config for type "bind": field Target must not be empty'),
        (Mount("bind", "x", "/s"), "invalid mount path: 'x' mount path must be absolute"),
        (Mount("volume", "/"), "invalid specification: destination can't be '/'"),
        (Mount("bind", "/x"), "field Source must not be empty"),
        (Mount("bind", "/x", "/s", propagation="odd"), "invalid propagation mode: odd"),
    ],
)
def test_a_mount_that_cannot_be_is_refused(mount: Mount, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_mounts(replace(CONFIG, mounts=(mount,)))
    assert words in str(caught.value)


def test_one_target_has_one_mount() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /x"):
        check_mounts(replace(CONFIG, mounts=(Mount("tmpfs", "/x"), Mount("volume", "/x"))))
