"""An empty volume gets the image's files. Another container with the volume cannot use that to reach the host."""

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.host import linux
from shoal.runtime import filling
from shoal.runtime.filling import fill

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "data/inner/empty").mkdir(parents=True)
    (made / "data/inner/file").write_text("from the image")
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir()
    return made


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a file of the host, which no container may read or change."""
    made = tmp_path / "of-the-host"
    made.write_text("the host's")
    made.chmod(0o600)
    return made


def test_all_that_a_file_is_is_copied(root: Path, volume: Path) -> None:
    data = root / "data"
    (data / "inner/file").chmod(0o4751)
    os.chown(data / "inner/file", 5, 6)
    os.chmod(data / "inner/file", 0o4751)
    os.setxattr(data / "inner/file", "user.word", b"x")
    os.link(data / "inner/file", data / "again")
    (data / "link").symlink_to("/etc/passwd")
    os.chown(data / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(data / "fifo")
    os.chmod(data / "fifo", 0o622)
    with (data / "holes").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    os.chmod(data / "inner", 0o2711)
    os.utime(data / "inner/file", (1, 2))
    os.utime(data / "inner", (3, 4))
    os.utime(data, (5, 6))
    data.chmod(0o750)
    fill(root, "/data", str(volume))
    copied = (volume / "inner/file").stat()
    assert (copied.st_mode, copied.st_uid, copied.st_gid, copied.st_mtime) == (stat.S_IFREG | 0o4751, 5, 6, 2)
    assert os.getxattr(volume / "inner/file", "user.word") == b"x"
    assert (volume / "again").stat().st_ino == copied.st_ino
    assert (volume / "link").readlink() == Path("/etc/passwd")
    assert (volume / "link").lstat().st_uid == 7
    assert stat.S_IMODE((volume / "fifo").stat().st_mode) == 0o622
    assert (volume / "holes").read_bytes() == (data / "holes").read_bytes()
    assert (volume / "holes").stat().st_blocks == (data / "holes").stat().st_blocks
    assert (stat.S_IMODE((volume / "inner").stat().st_mode), (volume / "inner").stat().st_mtime) == (0o2711, 4)
    assert (stat.S_IMODE(volume.stat().st_mode), volume.stat().st_mtime) == (0o750, 6)
    assert (volume / "inner/empty").is_dir()


@pytest.mark.parametrize("name", ["lost+found", ".hidden", "file"])
def test_a_volume_with_anything_in_it_is_left_alone(root: Path, volume: Path, name: str) -> None:
    (volume / name).mkdir()
    fill(root, "/data", str(volume))
    assert os.listdir(volume) == [name]


def test_a_link_in_the_image_stays_in_the_image(root: Path, volume: Path, tmp_path: Path) -> None:
    (root / "up").symlink_to("../../../../../../../../data")
    (root / "out").symlink_to(tmp_path)
    fill(root, "/out", str(volume))
    assert os.listdir(volume) == []
    fill(root, "/up", str(volume))
    assert sorted(os.listdir(volume)) == ["inner"]


def test_devices_are_not_copied(root: Path, volume: Path) -> None:
    os.mknod(root / "data/disk", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    fill(root, "/data", str(volume))
    assert os.listdir(volume) == ["inner"]


@pytest.mark.parametrize("put", ["link", "hard link", "file", "folder link"])
def test_what_another_container_puts_there_meanwhile_is_left_as_it_is(
    root: Path, volume: Path, host: Path, put: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wins the race at each name, right after the volume was found empty."""
    seen_empty = filling._is_empty

    def swap(folder: int) -> bool:
        empty = seen_empty(folder)
        match put:
            case "link":
                (volume / "evil").symlink_to(host)
            case "hard link":
                (volume / "other").write_text("another's")
                (volume / "evil").hardlink_to(volume / "other")
            case "file":
                (volume / "evil").write_text("its own")
            case "folder link":
                (volume / "inner").symlink_to(host.parent)
        return empty

    (root / "data/evil").write_text("written by root")
    (root / "data/evil").chmod(0o4755)
    (root / "data/inner/of-the-host").write_text("written by root")
    monkeypatch.setattr(filling, "_is_empty", swap)
    fill(root, "/data", str(volume))
    assert host.read_text() == "the host's"
    assert stat.S_IMODE(host.stat().st_mode) == 0o600
    if put == "hard link":
        assert (volume / "other").read_text() == "another's"
    if put == "file":
        assert (volume / "evil").read_text() == "its own"


@pytest.mark.slow
def test_a_folder_that_is_swapped_for_a_link_while_it_is_filled_leads_nowhere(
    root: Path, volume: Path, host: Path
) -> None:
    """With a real race: a thread replaces each new folder with a link to the host's as fast as it can."""
    target = host.parent / "target"
    target.mkdir()
    for number in range(100):
        (root / f"data/{number}").mkdir()
        (root / f"data/{number}/planted").write_text("by root")
    swapped = 0
    done = threading.Event()

    def swap() -> None:
        nonlocal swapped
        while not done.is_set():
            for name in os.listdir(volume):
                try:
                    os.rename(volume / name, host.parent / "aside")
                    os.symlink(target, volume / name)
                    swapped += 1
                except OSError:
                    continue
                finally:
                    shutil.rmtree(host.parent / "aside", ignore_errors=True)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        fill(root, "/data", str(volume))
    finally:
        done.set()
        thread.join()
    assert swapped > 10
    assert os.listdir(target) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Yield a volume on a disk of 1 MiB."""
    made = tmp_path / "small"
    made.mkdir()
    linux.mount("tmpfs", str(made), "tmpfs", 0, "size=1m,mode=755")
    yield made
    linux.umount(str(made))


def test_a_full_disk_leaves_the_volume_empty(root: Path, small: Path) -> None:
    for number in range(20):
        (root / f"data/inner/{number}").write_bytes(bytes(100_000))
    with pytest.raises(ShoalError, match="failed to copy /data into the volume: No space left on device"):
        fill(root, "/data", str(small))
    assert os.listdir(small) == []
    assert shutil.disk_usage(small).used == 0
    shutil.rmtree(root / "data/inner")
    (root / "data/little").write_text("x")
    fill(root, "/data", str(small))
    assert os.listdir(small) == ["little"]


def test_more_linked_files_than_descriptors_may_be_held_are_copied(
    root: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_LINKED_FILES_MOST", 2)
    for number in range(4):
        (root / f"data/a{number}").write_text(f"{number}")
        (root / f"data/b{number}").hardlink_to(root / f"data/a{number}")
    before = len(os.listdir("/proc/self/fd"))
    fill(root, "/data", str(volume))
    assert len(os.listdir("/proc/self/fd")) == before
    assert [(volume / f"b{number}").read_text() for number in range(4)] == ["0", "1", "2", "3"]
    assert sum((volume / f"a{number}").stat().st_nlink == 2 for number in range(4)) == 2


def test_a_tree_deeper_than_a_path_is_refused_and_undone(root: Path, volume: Path) -> None:
    here = os.open(root / "data", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(ShoalError, match=os.strerror(errno.ENAMETOOLONG)):
        fill(root, "/data", str(volume))
    assert os.listdir(volume) == []
