from pathlib import Path

import pytest

from shoal.runtime.mount_targets import covered_modes, expected_below_proc, refusal, resolve, unexpected
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
    told = refusal(str(root), (), [Mount("volume", target)], {target: "/v"})
    assert told == f'error mounting "/v" to rootfs at "{target}": {why}'
    assert refusal(str(root), (), [Mount("tmpfs", target)], {}) is not None


def test_what_runc_allows_in_proc_is_allowed(root: Path) -> None:
    mounts = [
        Mount("bind", "/proc/meminfo"),
        Mount("bind", "/proc"),
        Mount("tmpfs", "/processes"),
        Mount("tmpfs", "/sys"),
    ]
    assert refusal(str(root), (), mounts, {"/proc": "/proc", "/proc/meminfo": "/x"}) is None


def test_a_link_in_a_volume_that_is_mounted_first_is_followed(root: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "p").symlink_to("/proc/self")
    told = refusal(str(root), (), [Mount("bind", "/v/p/attr"), Mount("volume", "/v")], {"/v": str(volume)})
    assert told is not None
    assert "inside /proc" in told


@pytest.mark.parametrize(("target", "kind"), [("/proc", "proc"), ("/sys", "sysfs")])
@pytest.mark.parametrize("what", ["link", "file"])
def test_the_kernels_own_are_mounted_on_ordinary_folders_alone(root: Path, target: str, kind: str, what: str) -> None:
    place = root / target[1:]
    if place.exists():
        place.rmdir()
    place.symlink_to("/srv") if what == "link" else place.touch()
    told = refusal(str(root), (), (), {})
    why = f'filesystem "{kind}" must be mounted on ordinary directory'
    assert told == f'error mounting "{kind}" to rootfs at "{target}": {why}'


@pytest.mark.parametrize("target", ["/etc/hosts", "/dev"])
def test_what_we_mount_ourselves_is_not_led_into_proc(root: Path, target: str) -> None:
    (root / target[1:]).symlink_to("/proc/self/attr/exec")
    told = refusal(str(root), ("/etc/hosts",), (), {})
    assert told == (
        f'error mounting to rootfs at "{target}": "/proc/self/attr/exec" cannot be mounted because it is inside /proc'
    )


def test_what_lies_below_a_tmpfs_is_not_looked_up_on_the_host(root: Path, tmp_path: Path) -> None:
    """A tmpfs has no source, so the rest of the path alone would be a path of the host."""
    (tmp_path / "link").symlink_to("/proc")
    mounts = [Mount("tmpfs", "/t"), Mount("bind", f"/t{tmp_path}/link/x")]
    assert refusal(str(root), (), mounts, {f"/t{tmp_path}/link/x": "/srv"}) is None


def test_links_on_the_way_in_a_volume_are_not_followed_on_the_host(root: Path, tmp_path: Path) -> None:
    volume, host = tmp_path / "volume", tmp_path / "host"
    volume.mkdir()
    host.mkdir()
    (host / "p").symlink_to("/proc")
    (volume / "out").symlink_to(host)
    mounts = [Mount("volume", "/v"), Mount("bind", "/v/out/p/x")]
    assert refusal(str(root), (), mounts, {"/v": str(volume), "/v/out/p/x": "/srv"}) is None


def test_a_tmpfs_takes_the_mode_of_the_folder_that_it_covers(root: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "inner").mkdir(parents=True)
    (volume / "inner").chmod(0o2750)
    (root / "srv").chmod(0o711)
    (root / "link").symlink_to("srv")
    (root / "file").touch()
    (root / "dev/shm").mkdir(parents=True)
    targets = ("/link", "/new", "/file", "/v/inner", "/link/data", "/dev/shm")
    mounts = [Mount("tmpfs", target) for target in targets]
    mounts.append(Mount("volume", "/v"))
    assert covered_modes(str(root), mounts, {"/v": str(volume)}) == {"/link": 0o711, "/v/inner": 0o2750}


def mountinfo(*points: str) -> str:
    return "".join(f"1 2 0:3 / {point} rw,relatime - tmpfs tmpfs rw\n" for point in points)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (("/", "/proc", "/proc/sys", "/proc/kcore", "/v", "/proc/meminfo"), None),
        (("/", "/proc", "/proc/1/attr"), '"/proc/1/attr" cannot be mounted because it is inside /proc'),
        (("/", "/proc", "/proc/a\\040b"), '"/proc/a b" cannot be mounted because it is inside /proc'),
        (("/", "/proc", "/proc"), '"/proc" cannot be mounted because it is not of type proc'),
        (("/",), '"/proc" cannot be mounted because it is not of type proc'),
    ],
)
def test_what_came_of_the_mounts_is_looked_at_too(points: tuple[str, ...], why: str | None) -> None:
    expected = expected_below_proc(("/proc/sys", "/proc/kcore", "/sys/firmware"), [Mount("tmpfs", "/proc-like")])
    assert expected is not None
    assert unexpected(mountinfo(*points), expected) == why


def test_the_hosts_own_proc_comes_with_all_that_is_mounted_there() -> None:
    assert expected_below_proc((), [Mount("bind", "/proc/", "/proc")]) is None


def test_a_part_of_a_volume_is_looked_up_in_the_volume(root: Path, tmp_path: Path) -> None:
    volume, host = tmp_path / "volume", tmp_path / "host"
    (volume / "sub/inner").mkdir(parents=True)
    host.mkdir(mode=0o701)
    (host / "p").symlink_to("/proc")
    (volume / "sub/p").symlink_to("/proc")
    (volume / "out").symlink_to(host)
    (volume / "sub/inner").chmod(0o711)
    told = refusal(str(root), (), [Mount("volume", "/v", subpath="sub"), Mount("tmpfs", "/v/p/x")], {"/v": str(volume)})
    assert told is not None
    away = [Mount("volume", "/v", subpath="out"), Mount("tmpfs", "/v/p/x"), Mount("tmpfs", "/v")]
    assert refusal(str(root), (), away, {"/v": str(volume)}) is None
    inner = [Mount("volume", "/v", subpath="sub"), Mount("tmpfs", "/v/inner")]
    assert covered_modes(str(root), inner, {"/v": str(volume)}) == {"/v/inner": 0o711}
    assert covered_modes(str(root), [away[0], Mount("tmpfs", "/v/")], {"/v": str(volume)}) == {}
