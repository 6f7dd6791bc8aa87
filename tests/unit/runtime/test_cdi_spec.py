"""CDI files: what is read, and what is refused. Nothing in them can have any other effect."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.runtime import cdi_spec
from shoal.runtime.cdi_spec import BadCdi, CdiMount, DeviceNode, Edits, Hook, check_kind, parse


def file(**more: Any) -> dict[str, Any]:
    """Return a file with one device, with the changes of a test."""
    device = {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/x0"}]}}
    return {"cdiVersion": "0.6.0", "kind": "vendor.com/gpu", "devices": [device], **more}


def edited(**edits: Any) -> dict[str, Any]:
    return file(containerEdits=edits)


def test_everything_is_read() -> None:
    edits = {
        "env": ["A=1", "B="],
        "deviceNodes": [
            {
                "path": "/dev/x", "hostPath": "/dev/host-x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o660,
                "permissions": "rw", "uid": 5, "gid": 6,
            }
        ],
        "mounts": [{"hostPath": "/lib/x.so", "containerPath": "/usr/lib/x.so", "options": ["ro"], "type": "bind"}],
        "hooks": [
            {"hookName": "createContainer", "path": "/bin/x", "args": ["x", "y"], "env": ["C=2"], "timeout": 3},
        ],
        "additionalGids": [44],
        "intelRdt": {"closID": "c", "l3CacheSchema": "L3:0=f", "enableCMT": True, "enableMBM": False},
    }  # fmt: skip
    value = file(
        annotations={"a": "b"},
        containerEdits={"env": ["COMMON=1"]},
        devices=[{"name": "gpu-0:1.x", "annotations": {}, "containerEdits": edits}],
    )
    spec = parse(json.loads(json.dumps(value)))
    assert (spec.kind, spec.edits) == ("vendor.com/gpu", Edits(env=("COMMON=1",)))
    assert spec.devices == {
        "gpu-0:1.x": Edits(
            env=("A=1", "B="),
            nodes=(DeviceNode("/dev/x", "/dev/host-x", "c", 1, 3, 0o660, "rw", 5, 6),),
            mounts=(CdiMount("/lib/x.so", "/usr/lib/x.so", ("ro",), "bind"),),
            hooks=(Hook("createContainer", "/bin/x", ("x", "y"), ("C=2",), 3),),
            gids=(44,),
            intel_rdt=(("closID", "c"), ("l3CacheSchema", "L3:0=f"), ("enableCMT", True)),
        )
    }


@pytest.mark.parametrize("version", ["0.1.0", "0.3.0", "0.5.0", "0.8.0", "v0.6.0"])
def test_versions_up_to_0_8_are_read(version: str) -> None:
    assert parse(file(cdiVersion=version)).kind == "vendor.com/gpu"


def test_a_name_that_yaml_takes_for_a_number_is_a_name() -> None:
    device = {"name": 0, "containerEdits": {"env": ["A=1"]}}
    assert list(parse(file(devices=[device])).devices) == ["0"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "the file: it is no object"),
        ([], "the file: it is no object"),
        ({}, "the file.cdiVersion: it is missing"),
        (file(cdiVersion="9.0.0"), "cdiVersion: '9.0.0' is not one of 0.1.0"),
        (file(cdiVersion=0.6), "the file.cdiVersion: it is no text"),
        *((file(kind=kind), "is not vendor/class") for kind in ("gpu", "a/", "/b", "a/b/c", "-a/b", "a b/c", "é/b")),
        (file(kind="a/" + "b" * 200), "is not vendor/class"),
        (file(extra=1), "the specification has no field 'extra'"),
        (file(devices=None), "devices: there are none"),
        (file(devices={}), "devices: it is no list"),
        (file(devices=[1]), "devices[0]: it is no object"),
        (file(devices=[{}]), "devices[0].name: it is missing"),
        (file(devices=[{"name": "a b"}]), "'a b' is no name of a device"),
        (file(devices=[{"name": "a" * 129}]), "is no name of a device"),
        (file(devices=[{"name": "a"}]), "devices[0]: a changes nothing"),
        (file(devices=file()["devices"] * 2), "devices[1].name: 0 is there twice"),
        (file(devices=[0] * 513), "devices: it has more than 512 entries"),
        (edited(env=["A"]), "'A' is not NAME=value"),
        (edited(env=["=x"]), "'=x' is not NAME=value"),
        (edited(env=["A=\0"]), "has a NUL"),
        (edited(env=["A=" + "x" * 5000]), "longer than 4096"),
        (edited(env=["A=1"] * 2049), "it has more than 2048 entries"),
        (edited(env="A=1"), "it is no list"),
        (edited(nonsense=[]), "containerEdits: the specification has no field 'nonsense'"),
        (edited(netDevices=[]), "no field 'netDevices'"),
        (edited(deviceNodes=[{"path": "dev/x"}]), "is no absolute path"),
        (edited(deviceNodes=[{"path": "/etc/shadow"}]), "is not below /dev"),
        (edited(deviceNodes=[{"path": "/dev/../etc/x"}]), "has . or .. in it"),
        (edited(deviceNodes=[{"path": "/dev/x", "type": "z"}]), "none of b, c, u, p"),
        (edited(deviceNodes=[{"path": "/dev/x", "permissions": "rx"}]), "not made of r, w and m"),
        (edited(deviceNodes=[{"path": "/dev/x", "major": -1}]), "major: it is no whole number"),
        (edited(deviceNodes=[{"path": "/dev/x", "major": True}]), "major: it is no whole number"),
        (edited(deviceNodes=[{"path": "/dev/x", "fileMode": 0o10000}]), "fileMode: it is no whole number"),
        (edited(mounts=[{"hostPath": "/a"}]), "containerPath: it is missing"),
        (edited(mounts=[{"hostPath": "a", "containerPath": "/a"}]), "hostPath: 'a' is no absolute path"),
        (edited(mounts=[{"hostPath": "/a", "containerPath": "/a/../.."}]), "has . or .. in it"),
        (edited(mounts=[{"hostPath": "/a", "containerPath": "/a", "options": [1]}]), "options: it is no text"),
        (edited(hooks=[{"hookName": "later", "path": "/x"}]), "'later' is none of prestart"),
        (edited(hooks=[{"hookName": "prestart", "path": "x"}]), "is no absolute path"),
        (edited(hooks=[{"hookName": "prestart", "path": "/x", "timeout": -1}]), "timeout: it is no whole number"),
        (edited(additionalGids=[-1]), "not all ids of groups"),
        (edited(additionalGids=[1.5]), "not all ids of groups"),
        (edited(intelRdt={"closID": "../x"}), "closID: it is no name"),
        (edited(intelRdt={"enableCMT": 1}), "enableCMT: it is neither true nor false"),
        (edited(intelRdt={"schemata": []}), "no field 'schemata'"),
    ],
)
def test_what_is_refused(value: Any, words: str) -> None:
    with pytest.raises(BadCdi) as raised:
        parse(value)
    assert words in str(raised.value)


def test_a_kind_alone() -> None:
    assert check_kind("nvidia.com/gpu") == "nvidia.com/gpu"


NAMES = st.sampled_from(
    ["cdiVersion", "kind", "devices", "name", "containerEdits", "env", "deviceNodes", "mounts", "hooks", "path",
     "hostPath", "containerPath", "type", "options", "hookName", "additionalGids", "intelRdt", "major", "x"]
)  # fmt: skip
WORDS = st.sampled_from(["0.6.0", "a/b", "0", "/dev/x", "/x", "A=1", "prestart", "c", "rw", ""]) | st.text(max_size=5)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.integers(), inner, max_size=6),
    max_leaves=30,
)


@given(VALUES, VALUES, VALUES)
def test_any_value_is_read_or_refused(whole: Any, edits: Any, devices: Any) -> None:
    read = 0
    for value in (whole, file(containerEdits=edits), file(devices=devices), edited(deviceNodes=edits, hooks=devices)):
        try:
            spec = parse(value)
        except BadCdi:
            continue
        read += 1
        assert isinstance(spec, cdi_spec.CdiSpec)
        assert all(node.path.startswith("/dev/") for node in spec.edits.nodes)
        hash(spec.edits)
    assert read <= 4
