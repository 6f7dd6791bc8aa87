"""CDI edits in an OCI config."""

from typing import Any

import pytest

from shoal.errors import FailedPrecondition
from shoal.runtime.cdi_edits import Numbers, apply, at, binds
from shoal.runtime.cdi_spec import NO_EDITS, CdiMount, DeviceNode, Edits, Hook
from shoal.runtime.types import Mount

FILES = {"/dev/x": Numbers("c", 195, 0), "/dev/disk": Numbers("b", 8, 1), "/dev/pipe": Numbers("p", 0, 0)}


def spec(uid: int = 0) -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "X=old"], "user": {"uid": uid, "gid": uid}},
        "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/usr/lib/x.so", "type": "bind"}],
        "linux": {"resources": {"devices": [{"allow": False}], "memory": {"limit": 1}}},
    }


def applied(edits: Edits, uid: int = 0) -> dict[str, Any]:
    return apply(spec(uid), edits, FILES.get)


def test_nothing_changes_nothing() -> None:
    assert applied(NO_EDITS) == spec()


def test_variables_replace_those_of_their_name() -> None:
    assert applied(Edits(env=("X=1", "Y=a=b", "X=2")))["process"]["env"] == ["PATH=/bin", "X=2", "Y=a=b"]


def test_a_device_is_what_its_file_on_the_host_is() -> None:
    nodes = (DeviceNode("/dev/x"), DeviceNode("/dev/there", "/dev/disk", permissions="r", file_mode=0o640))
    linux = applied(Edits(nodes=nodes))["linux"]
    assert linux["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 195, "minor": 0},
        {"path": "/dev/there", "type": "b", "major": 8, "minor": 1, "fileMode": 0o640},
    ]
    assert linux["resources"] == {
        "devices": [
            {"allow": False},
            {"allow": True, "type": "c", "major": 195, "minor": 0, "access": "rwm"},
            {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "r"},
        ],
        "memory": {"limit": 1},
    }


def test_what_the_vendor_says_needs_no_file() -> None:
    nodes = (DeviceNode("/dev/none", type="u", major=1, minor=3), DeviceNode("/dev/fifo", type="p"))
    linux = applied(Edits(nodes=nodes))["linux"]
    assert linux["devices"] == [
        {"path": "/dev/none", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/fifo", "type": "p"},
    ]
    assert len(linux["resources"]["devices"]) == 2


def test_a_device_belongs_to_the_containers_user_unless_it_says() -> None:
    nodes = (DeviceNode("/dev/x"), DeviceNode("/dev/y", "/dev/x", uid=0, gid=44))
    devices = applied(Edits(nodes=nodes), uid=1000)["linux"]["devices"]
    assert [(each.get("uid"), each.get("gid")) for each in devices] == [(1000, 1000), (0, 44)]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (DeviceNode("/dev/gone"), "failed to stat CDI host device '/dev/gone'"),
        (DeviceNode("/dev/x", "/dev/disk", type="c"), "host type mismatch (c, b)"),
    ],
)
def test_a_device_that_is_not_as_said_is_refused(node: DeviceNode, words: str) -> None:
    with pytest.raises(FailedPrecondition) as raised:
        applied(Edits(nodes=(node,)))
    assert "CDI device injection failed" in str(raised.value)
    assert words in str(raised.value)


def test_mounts_replace_those_of_their_target_and_go_parents_first() -> None:
    edits = Edits(
        mounts=(
            CdiMount("/host/x.so", "/usr/lib/x.so", ("ro", "bind")),
            CdiMount("/host/opt", "/opt"),
            CdiMount("tmpfs", "/run/x", ("size=1m",), "tmpfs"),
        )
    )
    assert applied(edits)["mounts"] == [
        {"destination": "/proc", "type": "proc"},
        {"destination": "/opt", "type": "bind", "source": "/host/opt", "options": ["rbind"]},
        {"destination": "/run/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
        {"destination": "/usr/lib/x.so", "type": "bind", "source": "/host/x.so", "options": ["ro", "bind"]},
    ]
    assert binds(edits) == (Mount("bind", "/usr/lib/x.so", "/host/x.so"), Mount("bind", "/opt", "/host/opt"))
    assert [mount.host_path for mount in at(edits, {"/opt": "/staged"}).mounts] == ["/host/x.so", "/staged", "tmpfs"]


def test_hooks_groups_and_caches() -> None:
    edits = Edits(
        hooks=(Hook("prestart", "/a", ("a", "b"), ("X=1",), 5), Hook("prestart", "/b"), Hook("poststop", "/c")),
        gids=(44, 0, 44),
        intel_rdt=(("closID", "c"),),
    )
    changed = applied(edits)
    assert changed["hooks"] == {
        "prestart": [{"path": "/a", "args": ["a", "b"], "env": ["X=1"], "timeout": 5}, {"path": "/b"}],
        "poststop": [{"path": "/c"}],
    }
    assert changed["process"]["user"]["additionalGids"] == [44]
    assert changed["linux"]["intelRdt"] == {"closID": "c"}
