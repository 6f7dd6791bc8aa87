"""Local volumes."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from shoal.errors import Conflict, DamagedState, InvalidArgument, NotFound, ShoalError
from shoal.host import linux
from shoal.host.events import EventBus
from shoal.paths import Paths
from shoal.runtime.volume_mounts import mount_command
from shoal.runtime.volumes import ANONYMOUS_LABEL, Volumes


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data", tmp_path / "exec")


@pytest.fixture
def volumes(paths: Paths) -> Volumes:
    return Volumes(paths)


async def test_a_volume_is_there_after_a_restart(volumes: Volumes, paths: Paths) -> None:
    made = await volumes.create("data", "local", {}, {"a": "1"})
    assert made.mountpoint == str(paths.volumes / "data" / "_data")
    (paths.volumes / "data" / "_data" / "file").write_text("x")
    for opened in (volumes, Volumes(paths)):
        assert opened.get("data") == made
        assert opened.list() == [made]
    assert (paths.volumes / "data" / "_data").stat().st_mode & 0o777 == 0o755


async def test_creating_again_returns_the_one_that_is_there(volumes: Volumes) -> None:
    first = await volumes.create("data", "local", {}, {"a": "1"})
    assert await volumes.create("data", "", {}, {"b": "2"}) is first


async def test_two_who_create_one_at_once_get_the_same(volumes: Volumes) -> None:
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(volumes.create("data")) for _ in range(4)]
    assert len({id(task.result()) for task in made}) == 1


async def test_without_a_name_it_is_anonymous(volumes: Volumes) -> None:
    made = await volumes.create("", "local", {}, {})
    assert (len(made.name), made.anonymous, made.labels) == (64, True, {ANONYMOUS_LABEL: ""})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a", "volume name is too short"),
        ("../x", 'create ../x: "../x" includes invalid characters for a local volume name, only "'),
        ("a/b", "includes invalid characters"),
        (".hidden", "includes invalid characters"),
        ("a b", "includes invalid characters"),
        ("a\n", "includes invalid characters"),
        ("a" * 256, "includes invalid characters"),
    ],
)
async def test_a_bad_name_is_refused(volumes: Volumes, paths: Paths, name: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await volumes.create(name)
    assert why in str(raised.value)
    assert list(paths.volumes.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"what": "x"}, 'create data: invalid option: "what"'),
        ({"device": "/x"}, 'missing required option: "type"'),
        ({"type": "nfs"}, 'missing required option: "device"'),
        ({"o": "ro"}, 'missing required option: "device"'),
        ({"size": "1g"}, "quota size requested but no quota support"),
    ],
)
async def test_bad_options_are_refused(volumes: Volumes, options: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await volumes.create("data", "local", options, {})
    assert why in str(raised.value)


async def test_another_driver_is_not_found(volumes: Volumes) -> None:
    with pytest.raises(NotFound, match='create data: error looking up volume plugin rbd: plugin "rbd" not found'):
        await volumes.create("data", "rbd")


async def test_a_volume_in_use_stays(volumes: Volumes, paths: Paths) -> None:
    await volumes.create("data")
    volumes.hold("data", "c2")
    volumes.hold("data", "c1")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1, c2\]"):
        await volumes.remove("data", force=True)
    volumes.release("data", "c1")
    volumes.release("data", "c2")
    volumes.release("data", "c2")
    await volumes.remove("data")
    assert list(paths.volumes.iterdir()) == []


@pytest.mark.parametrize("force", [True, False])
async def test_what_is_not_there_is_said_in_dockers_words(volumes: Volumes, force: bool) -> None:
    with pytest.raises(NotFound, match="get data: no such volume"):
        await volumes.remove("data", force)
    with pytest.raises(NotFound, match="get data: no such volume"):
        volumes.hold("data", "c1")


async def test_events_are_told(paths: Paths) -> None:
    events = EventBus()
    volumes = Volumes(paths, events)
    await volumes.create("data")
    await volumes.remove("data")
    assert [(event.action, event.id) for event in events.since(0)] == [("create", "data"), ("destroy", "data")]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"created_at": "x"}'])
async def test_a_damaged_record_is_named_and_kept_and_the_others_go_on(
    volumes: Volumes, paths: Paths, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await volumes.create("bad")
    await volumes.create("good")
    path = paths.volumes / "bad" / "volume.json"
    path.write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        again = Volumes(paths)
    assert str(path) in caplog.text
    assert [volume.name for volume in again.list()] == ["good"]
    for touch in (again.create("bad"), again.remove("bad")):
        with pytest.raises(DamagedState):
            await touch
    assert path.read_bytes() == damage


async def test_leftovers_of_an_interrupted_run_are_removed(volumes: Volumes, paths: Paths) -> None:
    (paths.volumes / ".new-1" / "_data").mkdir(parents=True)
    Volumes(paths)
    assert list(paths.volumes.iterdir()) == []


async def test_the_command_that_mounts(volumes: Volumes) -> None:
    made = await volumes.create("data", "local", {"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1,rw"}, {})
    command = mount_command(made, "addr=10.0.0.1,rw")
    assert command[1:] == ["-i", "-t", "nfs", "-o", "addr=10.0.0.1,rw", "--", ":/x", made.mountpoint]


@pytest.mark.root
async def test_a_tmpfs_is_mounted_while_someone_holds_it(volumes: Volumes, paths: Paths) -> None:
    made = await volumes.create("data", "local", {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"}, {})
    volumes.hold("data", "c1")
    await volumes.mount("data")
    await volumes.mount("data")
    again = Volumes(paths)  # a restart finds it mounted
    again.hold("data", "c1")
    await again.mount("data")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert mounts.count(made.mountpoint) == 1
    again.release("data", "c1")
    deadline = time.monotonic() + 60
    while made.mountpoint in Path("/proc/self/mountinfo").read_text():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await again.remove("data")


@pytest.mark.root
async def test_a_bind_mounted_volume_is_removed_without_what_it_shows(volumes: Volumes, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "file").write_text("x")
    await volumes.create("data", "local", {"type": "none", "device": str(shown), "o": "bind"}, {})
    await volumes.mount("data")
    assert (Path(volumes.get("data").mountpoint) / "file").read_text() == "x"
    await volumes.remove("data")
    assert (shown / "file").read_text() == "x"


@pytest.mark.root
async def test_a_mount_that_fails_says_why(volumes: Volumes) -> None:
    options = {"type": "none", "device": "/no/such/folder", "o": "bind,password=secret,pass=secret,password2=secret"}
    await volumes.create("data", "local", options, {})
    with pytest.raises(ShoalError, match="failed to mount local volume: mount /no/such/folder:") as raised:
        await volumes.mount("data")
    assert "secret" not in str(raised.value)


@pytest.mark.root
def test_what_cannot_be_removed_does_not_end_the_daemon(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    """A mount, or a file that a container with CAP_LINUX_IMMUTABLE made immutable."""
    left = paths.volumes / ".old-0123456789abcdef"
    (left / "busy").mkdir(parents=True)
    linux.mount("tmpfs", str(left / "busy"), "tmpfs")
    try:
        assert Volumes(paths).list() == []
        assert f"{left} is of no use and cannot be removed: Device or resource busy" in caplog.text
    finally:
        linux.umount(str(left / "busy"))
    Volumes(paths)
    assert not left.exists()
