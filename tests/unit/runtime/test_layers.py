"""Layers: what a tar becomes on disk, and which places it cannot reach."""

import asyncio
import bz2
import contextlib
import gzip
import hashlib
import json
import lzma
import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from shoal.errors import InvalidArgument, ShoalError
from shoal.host import linux
from shoal.runtime import unpack_child
from shoal.runtime.layers import LayerStore, unpack
from tests.unit.runtime.tars import entry, files, tar

pytestmark = pytest.mark.root


async def stream(data: bytes, piece: int = 4096) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        yield data[at : at + piece]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "images")


async def unpacked(store: LayerStore, data: bytes) -> Path:
    return Path(store.lower(await store.add(stream(data))))


async def test_files_keep_owner_mode_time_and_attributes(store: LayerStore) -> None:
    attributes = {"user.word": "x", "trusted.overlay.redirect": "/etc", "user.overlay.x": "1"}
    held = {f"SCHILY.xattr.{key}": value for key, value in attributes.items()}
    root = await unpacked(
        store,
        tar(
            entry("./", tarfile.DIRTYPE, mode=0o711),
            entry("bin", tarfile.DIRTYPE, mtime=1000),
            (entry("bin/su", mode=0o4755, uid=5, gid=6, mtime=12, pax_headers=held), b"su"),
            entry("bin/link", tarfile.SYMTYPE, linkname="/etc/passwd", uid=7),
            entry("bin/hard", tarfile.LNKTYPE, linkname="/bin/su"),
            entry("pipe", tarfile.FIFOTYPE),
        ),
    )
    su = (root / "bin/su").stat()
    assert (su.st_mode, su.st_uid, su.st_gid, su.st_mtime) == (stat.S_IFREG | 0o4755, 5, 6, 12)
    assert os.listxattr(root / "bin/su") == ["user.word"]
    assert (root / "bin/hard").stat().st_ino == su.st_ino
    assert (root / "bin/link").readlink() == Path("/etc/passwd")
    assert (root / "bin/link").lstat().st_uid == 7
    assert (root / "bin").stat().st_mtime == 1000
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert root.stat().st_mode & 0o7777 == 0o711


async def test_the_host_cannot_reach_into_layers(store: LayerStore, tmp_path: Path) -> None:
    await unpacked(store, files(a=b"x"))
    for folder in ("images", "images/layers", "images/l"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("plain", bytes),
        ("gzip", gzip.compress),
        ("joined gzip", lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:])),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", lambda data: subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout),
    ],
)
async def test_any_compression_gives_the_same_layer(store: LayerStore, name: str, pack: object) -> None:
    data = files(a=b"x" * 5000, b=b"y")
    packed = pack(data)  # type: ignore[operator]
    assert await store.add(stream(packed), diff_id=digest(data), digest=digest(packed)) == digest(data)
    assert (Path(store.lower(digest(data))) / "a").read_bytes() == b"x" * 5000


async def test_whiteouts_become_what_overlayfs_takes_for_them(store: LayerStore, tmp_path: Path) -> None:
    lower = await unpacked(store, files(**{"gone": b"1", "kept": b"1", "dir/old": b"1", "again/old": b"1"}))
    upper = await unpacked(
        store,
        files(
            **{
                ".wh.gone": b"",
                "dir/new": b"2",
                "dir/.wh..wh..opq": b"",
                ".wh.again": b"",
                "again/new": b"2",
            }
        ),
    )
    assert (upper / "gone").lstat().st_rdev == 0
    merged = tmp_path / "merged"
    merged.mkdir()
    linux.mount("overlay", str(merged), "overlay", linux.MS_RDONLY, f"lowerdir={upper}:{lower}")
    try:
        assert sorted(path.name for path in merged.iterdir()) == ["again", "dir", "kept"]
        assert [path.name for path in (merged / "dir").iterdir()] == ["new"]
        assert [path.name for path in (merged / "again").iterdir()] == ["new"]
    finally:
        linux.umount(str(merged))


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(tar((entry("../evil"), b"x")), id="dot-dot"),
        pytest.param(tar((entry("a/../../evil"), b"x")), id="dot-dot inside"),
        pytest.param(tar(entry("x", tarfile.LNKTYPE, linkname="../../../etc/passwd")), id="hard link dot-dot"),
        pytest.param(tar(entry("x", tarfile.LNKTYPE, linkname="/etc/passwd")), id="hard link absolute"),
        pytest.param(tar(entry("a/.wh..")), id="whiteout of dot"),
        pytest.param(tar(entry(".wh..")), id="whiteout of the root"),
        pytest.param(tar(entry(".")), id="the root as a file"),
        pytest.param(tar((entry("a"), b"x"), (entry("a/b/" + "c/" * 1500), b"")), id="deep"),
        pytest.param(files(a=b"x" * 5000)[:3000], id="cut short"),
        pytest.param(gzip.compress(files(a=os.urandom(5000)))[:3000], id="gzip cut short"),
        pytest.param(b"no tar at all" * 100, id="no tar"),
        pytest.param(b"\x1f\x8b" + b"x" * 100, id="no gzip"),
    ],
)
async def test_a_hostile_tar_is_refused_and_leaves_nothing(store: LayerStore, tmp_path: Path, hostile: bytes) -> None:
    with pytest.raises(ShoalError):
        await store.add(stream(hostile))
    assert store.all() == []
    assert list((tmp_path / "images/layers").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


async def test_symbolic_links_lead_nowhere_outside(store: LayerStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("as it was")
    root = await unpacked(
        store,
        tar(
            entry("out", tarfile.SYMTYPE, linkname=str(outside)),
            entry("up", tarfile.SYMTYPE, linkname="../../../../../.."),
            (entry(f"up{outside}/victim"), b"changed"),
            entry("file", tarfile.SYMTYPE, linkname=f"{outside}/victim"),
            (entry("file"), b"changed"),
        ),
    )
    assert (outside / "victim").read_text() == "as it was"
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert (root / "file").read_bytes() == b"changed"


async def test_a_link_to_a_folder_of_the_layer_is_followed_within_it(store: LayerStore) -> None:
    root = await unpacked(
        store,
        tar(
            entry("usr/lib", tarfile.DIRTYPE),
            entry("lib", tarfile.SYMTYPE, linkname="/usr/lib"),
            (entry("lib/x.so"), b"code"),
        ),
    )
    assert (root / "usr/lib/x.so").read_bytes() == b"code"


async def test_absolute_names_are_taken_inside(store: LayerStore) -> None:
    root = await unpacked(store, files(**{"/etc/shoal-test-of-absolute-names": b"x"}))
    assert (root / "etc/shoal-test-of-absolute-names").exists()
    assert not Path("/etc/shoal-test-of-absolute-names").exists()


async def test_device_nodes_are_left_out(store: LayerStore) -> None:
    root = await unpacked(
        store,
        tar(
            entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
            entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            (entry("kept"), b"x"),
        ),
    )
    assert [path.name for path in root.iterdir()] == ["kept"]


async def test_later_entries_replace_earlier_ones(store: LayerStore) -> None:
    root = await unpacked(
        store,
        tar(
            (entry("a/b"), b"1"),
            (entry("a"), b"file"),
            (entry("c"), b"file"),
            (entry("c/d"), b"2"),
            (entry("e"), b"1"),
            entry("e", tarfile.SYMTYPE, linkname="a"),
        ),
    )
    assert (root / "a").read_bytes() == b"file"
    assert (root / "c/d").read_bytes() == b"2"
    assert (root / "e").readlink() == Path("a")


async def test_a_wrong_digest_is_refused(store: LayerStore) -> None:
    data = files(a=b"x")
    with pytest.raises(InvalidArgument, match="layer verification failed"):
        await store.add(stream(data), diff_id=digest(b"other"))
    with pytest.raises(InvalidArgument, match="blob verification failed"):
        await store.add(stream(data), diff_id=digest(data), digest=digest(b"other"))
    assert store.all() == []


async def test_a_full_disk_leaves_the_old_state_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    linux.mount("tmpfs", str(disk), "tmpfs", 0, "size=512k")
    try:
        store = LayerStore(disk)
        small = await store.add(stream(files(a=b"x")))
        with pytest.raises(ShoalError, match="No space left on device"):
            await store.add(stream(files(b=b"y" * 1_000_000)))
        assert store.all() == [small]
        assert [path.name for path in (disk / "layers").iterdir()] == [small[7:]]
        assert LayerStore(disk).all() == [small]
    finally:
        linux.umount(str(disk))


async def test_a_stream_that_breaks_off_leaves_nothing(store: LayerStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield files(a=b"x" * 100_000)[:50_000]
        raise ConnectionAbortedError("the client went away")

    with pytest.raises(ShoalError, match="the client went away"):
        await store.add(broken())
    assert list((tmp_path / "images/layers").iterdir()) == []


async def test_a_cancelled_unpacking_leaves_nothing(store: LayerStore, tmp_path: Path) -> None:
    half = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield files(a=b"x" * 100_000)[:50_000]
        half.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        adding = group.create_task(store.add(endless()))
        await half.wait()
        adding.cancel()
    assert adding.cancelled()
    assert list((tmp_path / "images/layers").iterdir()) == []


async def test_layers_are_found_again_and_leftovers_removed(store: LayerStore, tmp_path: Path) -> None:
    diff_id = await store.add(stream(files(a=b"xyz")))
    short = store.lower(diff_id)
    (tmp_path / "images/layers/.new-1/fs").mkdir(parents=True)
    again = LayerStore(tmp_path / "images")
    assert (again.all(), again.lower(diff_id), again.size(diff_id)) == ([diff_id], short, 3)
    assert len(list((tmp_path / "images/layers").iterdir())) == 1


async def test_pinned_layers_are_not_removed(store: LayerStore, tmp_path: Path) -> None:
    diff_id = await store.add(stream(files(a=b"xyz")))
    with store.pinned([diff_id]):
        assert await store.remove([diff_id]) == 0
    assert await store.remove([diff_id]) == 3
    assert store.all() == []
    assert list((tmp_path / "images/layers").iterdir()) == list((tmp_path / "images/l").iterdir()) == []


async def test_the_same_layer_at_one_time_is_unpacked_once(store: LayerStore) -> None:
    data = files(a=b"x")
    begun = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield data

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(store.add(counted(), diff_id=digest(data)))
    assert (begun, store.all()) == (1, [digest(data)])


def unpacker() -> int:
    """Return the child process that unpacks for this one."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = f"\nPPid:\t{os.getpid()}\n" in (process / "status").read_text()
            if ours and b"unpack_child" in (process / "cmdline").read_bytes():
                return int(process.name)
    raise AssertionError("nobody unpacks")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_an_unpacker_that_is_killed_between_two_pieces_is_told_of(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(512)
        os.kill(unpacker(), signal.SIGKILL)
        for _ in range(20):  # some come only when the loop has noticed
            await asyncio.sleep(0.01)
            yield bytes(512)

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(ShoalError, match="ended with signal 9"):
        runner.run(unpack(pieces(), tmp_path, "layer"))


def test_a_write_that_took_a_part_is_not_taken_for_whole(tmp_path: Path) -> None:
    """As at the end of a disk: the first write writes what fits and returns how much, and the next one would fail."""
    (tmp_path / "fs").mkdir()
    done = subprocess.run(
        ["prlimit", "--fsize=100000", sys.executable, "-I", "-S", unpack_child.__file__, "layer", tmp_path / "fs", ""],
        input=files(a=b"x" * 150_000),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"error": "File too large", "kind": "system"}


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[LayerStore]:
    folder.mkdir()
    linux.mount("tmpfs", str(folder), "tmpfs", 0, options)
    try:
        yield LayerStore(folder / "images")
    finally:
        linux.umount(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one file", "many files", "zeros", "names"])
async def test_a_layer_that_would_fill_the_disk_is_stopped_in_time(tmp_path: Path, kind: str) -> None:
    """A twentieth of the disk is left to others, also while it unpacks."""
    data = {
        "one file": lambda: files(a=bytes(80 << 20)),
        "many files": lambda: files(**{f"f{number}": os.urandom(1 << 20) for number in range(45)}),
        "zeros": lambda: files(**{f"f{number}": bytes(9 << 20) for number in range(6)}),
        "names": lambda: tar(*(entry(f"f{number}") for number in range(4000))),
    }[kind]()
    with small_disk(tmp_path / "disk", "size=40m,nr_inodes=3000") as store:
        least, least_inodes = [40 << 20], [3000]

        async def watched() -> AsyncIterator[bytes]:
            packed = gzip.compress(data, 1)
            async for piece in stream(packed, 65536):
                yield piece
                found = os.statvfs(tmp_path / "disk")
                least[0] = min(least[0], found.f_bavail * found.f_frsize)
                least_inodes[0] = min(least_inodes[0], found.f_favail)

        before = os.statvfs(tmp_path / "disk")
        with pytest.raises(ShoalError, match="no space left on device") as told:
            await store.add(watched())
        assert not isinstance(told.value, InvalidArgument)
        assert least[0] >= 1 << 20
        assert least_inodes[0] >= 50
        after = os.statvfs(tmp_path / "disk")
        assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
        assert store.all() == []
        assert await store.add(stream(files(a=b"little"))) in store


@pytest.mark.slow
async def test_what_follows_a_tar_has_an_end(store: LayerStore) -> None:
    padded = files(a=b"x") + bytes(unpack_child.MAX_TRAILING_BYTES + unpack_child.CHUNK_BYTES)
    with pytest.raises(InvalidArgument, match="more than 64 MiB after its end"):
        await store.add(stream(gzip.compress(padded, 1), 65536))


async def test_a_layer_that_lacks_its_link_is_taken_as_it_is(store: LayerStore, tmp_path: Path) -> None:
    """Its folder was made, and there was no room for the link."""
    links = tmp_path / "images/l"
    links.rmdir()
    with pytest.raises(ShoalError, match="cannot store a layer"):
        await store.add(stream(files(a=b"x")))
    links.mkdir()
    assert await store.add(stream(files(a=b"x"))) in store


@pytest.mark.slow
async def test_a_layer_of_folders_in_folders_can_be_removed(store: LayerStore, tmp_path: Path) -> None:
    """By links the folders are deeper than a name in a tar may be long. Before, the remains ended the daemon's next
    start.
    """
    step = "/".join(["d"] * 700)
    rows = [entry(step, tarfile.DIRTYPE), entry("one", tarfile.SYMTYPE, linkname=step)]
    rows += [entry(f"one/{step}", tarfile.DIRTYPE)]
    diff_id = await store.add(stream(tar(*rows)))
    left = tmp_path / "images/layers/.new-1234"
    left.mkdir()
    (Path(store.lower(diff_id)) / "d").rename(left / "d")
    again = LayerStore(tmp_path / "images")
    assert not left.exists()
    await again.remove([diff_id])
    assert os.listdir(tmp_path / "images/layers") == []
