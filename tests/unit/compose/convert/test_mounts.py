from typing import Any

import pytest

from shoal.compose.convert.mounts import mounts
from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project


def made(keys: str, more: str = "") -> list[dict[str, Any]]:
    found = project(f"services: {{w: {{image: a, {keys}}}}}\n{more}")
    return mounts("w", found.services["w"], found)


def test_a_tmpfs_in_short_form_is_a_mount() -> None:
    assert made("tmpfs: ['/run', '/tmp:size=1k,mode=1777']") == [
        {"Type": "tmpfs", "Target": "/run", "TmpfsOptions": {}},
        {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o1777}},
    ]


def test_a_volume_may_be_shared_under_selinux_which_swarm_does_not_do() -> None:
    (found,) = made("volumes: ['v:/v:z']", "volumes: {v: }")
    assert (found["Type"], found["Source"], "BindOptions" in found) == ("volume", "p_v", False)


def test_how_deep_a_bind_is_read_only() -> None:
    (found,) = made("volumes: [{type: bind, source: /a, target: /b, bind: {recursive: readonly, propagation: shared}}]")
    assert found["BindOptions"] == {"Propagation": "shared", "ReadOnlyForceRecursive": True}


def test_cluster_volumes_and_images() -> None:
    found = made(
        "volumes: [{type: cluster, source: v, target: /v}, {type: cluster, source: 'group:g', target: /g},"
        " {type: image, source: i, target: /i, image: {subpath: s}}]",
        "volumes: {v: }",
    )
    assert [each["Source"] for each in found] == ["p_v", "group:g", "i"]
    assert found[2]["ImageOptions"] == {"Subpath": "s"}


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("tmpfs: '/run:noexec'", "services.w.tmpfs[0]: 'noexec': Swarm takes size and mode of a tmpfs alone"),
        (
            "volumes: [{type: tmpfs, target: /t, bind: {}}]",
            "services.w.volumes[0].bind: is not for a mount of type tmpfs",
        ),
        (
            "volumes: [{type: volume, target: /t, bind: {propagation: shared}}]",
            "services.w.volumes[0].bind: is not for a mount of type volume",
        ),
        ("volumes: [{type: tmpfs, source: x, target: /t}]", "volumes[0].source: a tmpfs has no source"),
        ("volumes: [{type: image, target: /t}]", "a mount of type image must have the key source"),
        ("volumes: [{type: cluster, source: x, target: /t}]", "there is no volume x under volumes"),
    ],
)
def test_mounts_that_contradict_themselves(keys: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        made(keys)
    assert error in str(found.value)
