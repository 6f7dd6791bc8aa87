from pathlib import Path

import pytest

from shoal.runtime.mount_targets import refusal, resolve
from shoal.runtime.types import Mount


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    for folder in ("proc", "etc", "srv/data"):
        (made / folder).mkdir(parents=True)
    for name, to in {"p": "/proc", "up": "../../../proc", "etc/there": "../p/self", "loop": "loop"}.items():
        (made / name).symlink_to(to)
    return made


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/srv/data", "/srv/data"),
        ("/srv//data/", "/srv/data"),
        ("/srv/../etc/x", "/etc/x"),
        ("/../../etc", "/etc"),
        ("/p", "/proc"),
        ("/up/sys", "/proc/sys"),
        ("/etc/there/attr", "/proc/self/attr"),
        ("/proc/self/../sys", "/proc/sys"),
        ("/proc/../etc", "/etc"),
        ("/loop/x", "/loop/x"),
        ("/not/yet/there", "/not/yet/there"),
    ],
)
def test_links_of_the_image_are_followed_inside_it(root: Path, target: str, place: str) -> None:
    assert resolve(str(root), target, {}) == place


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/proc", '"/proc" cannot be mounted because it is not of type proc'),
        ("/p/", '"/proc" cannot be mounted because it is not of type proc'),
        ("/etc/there/attr", '"/proc/self/attr" cannot be mounted because it is inside /proc'),
        ("/proc/sys", '"/proc/sys" cannot be mounted because it is inside /proc'),
    ],
)
def test_mounts_over_proc_are_refused_in_the_words_of_runc(root: Path, target: str, why: str) -> None:
    told = refusal(str(root), [Mount("volume", target)], {target: "/v"})
    assert told == f'error mounting "/v" to rootfs at "{target}": {why}'
    assert refusal(str(root), [Mount("tmpfs", target)], {}) is not None


def test_what_runc_allows_in_proc_is_allowed(root: Path) -> None:
    mounts = [
        Mount("bind", "/proc/meminfo"),
        Mount("bind", "/proc"),
        Mount("tmpfs", "/processes"),
        Mount("tmpfs", "/sys"),
    ]
    assert refusal(str(root), mounts, {"/proc": "/proc", "/proc/meminfo": "/x"}) is None


def test_a_link_in_a_volume_that_is_mounted_first_is_followed(root: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "p").symlink_to("/proc/self")
    told = refusal(str(root), [Mount("bind", "/v/p/attr"), Mount("volume", "/v")], {"/v": str(volume)})
    assert told is not None
    assert "inside /proc" in told
