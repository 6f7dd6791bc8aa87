"""What a container or an image can do against reading and removing."""

import os
import socket
import stat
from pathlib import Path

import pytest

from shoal.host import linux
from shoal.runtime import confined

DEEP = 1100  # deeper than Python's recursion limit, and more than the usual number of descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("the host's")
    return made


def nest(folder: Path, levels: int) -> None:
    """Make folders in folders, with a file in the last one."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT, dir_fd=here))
    os.close(here)


def test_a_text_is_read_through_links_that_stay_inside(root: Path) -> None:
    (root / "etc/real").write_text("ann\n")
    (root / "etc/passwd").symlink_to("/etc/real")
    assert confined.read_text(root, "/etc/passwd") == "ann\n"
    assert confined.read_text(root, "/etc/none") == ""


@pytest.mark.parametrize("to", ["../../secret", "/../secret", "/proc/self/root{root}/../secret", "passwd"])
def test_no_link_leads_out(root: Path, to: str) -> None:
    (root / "etc/passwd").symlink_to(to.format(root=root))
    (root / "proc").symlink_to("/proc")
    assert confined.read_text(root, "/etc/passwd") == ""


def test_what_is_no_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "etc/fifo")
    (root / "etc/folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "etc/socket"))
    for name in ("fifo", "folder", "socket"):
        assert confined.read_text(root, f"/etc/{name}") == ""


@pytest.mark.root
def test_a_device_is_not_opened_to_see_what_it_is(root: Path) -> None:
    """A device without a driver: opening it is an error. Opening others would start a watchdog or wind a tape."""
    os.mknod(root / "etc/passwd", stat.S_IFCHR | 0o644, os.makedev(511, 77))
    assert confined.read_text(root, "/etc/passwd") == ""


def test_a_vast_text_is_cut(root: Path) -> None:
    with (root / "etc/passwd").open("wb") as file:
        file.truncate(20 << 30)
    assert len(confined.read_text(root, "/etc/passwd")) == confined.TEXT_LIMIT


def test_links_are_told_and_not_followed(root: Path) -> None:
    (root / "link").symlink_to("etc")
    (root / "etc/inner").symlink_to("/somewhere")
    assert confined.read_link(root, "/link") == "etc"
    assert confined.read_link(root, "/etc/inner") == "/somewhere"
    assert confined.read_link(root, "/link/inner") is None
    assert confined.read_link(root, "/etc") is None
    assert confined.read_link(root, "/none") is None


def test_the_mode_of_a_folder(root: Path) -> None:
    (root / "etc").chmod(0o1750)
    (root / "link").symlink_to("/etc")
    (root / "file").touch()
    assert [confined.folder_mode(root, path) for path in ("/etc", "/link", "/file", "/no")] == [
        0o1750,
        0o1750,
        None,
        None,
    ]


def test_the_kernel_has_what_this_needs() -> None:
    assert linux.can_open_in_root()


def test_a_tree_is_removed_and_nothing_beside_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (root / "out").symlink_to(tmp_path / "kept")
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/file").touch()
    os.mkfifo(root / "a/fifo")
    confined.remove_tree(root)
    assert not root.exists()
    assert (tmp_path / "kept").exists()


@pytest.mark.slow
def test_a_tree_deeper_than_python_calls_itself_is_removed(root: Path) -> None:
    nest(root / "etc", DEEP)
    before = len(os.listdir("/proc/self/fd"))
    confined.remove_tree(root)
    assert not root.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_names_are_removed_piece_by_piece(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_NAMES_AT_ONCE", 3)
    for number in range(10):
        (root / f"etc/{number}/x").mkdir(parents=True)
        (root / f"{number}").mkdir()
        (root / f"{number}/file").touch()
    confined.remove_tree(root)
    assert not root.exists()


def test_the_size_of_a_tree_is_of_what_is_in_it(root: Path, tmp_path: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("12345")
    (root / "a/again").hardlink_to(root / "a/b/file")
    (root / "own").write_text("123")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/large").write_text("x" * 100_000)
    (root / "out").symlink_to(tmp_path / "host")
    size = 8 + (root / "out").lstat().st_size
    assert confined.tree_size_bytes(root) == size
    assert confined.tree_size_bytes(root / "none") == 0


@pytest.mark.slow
def test_the_size_of_a_tree_is_told_however_deep_it_is(root: Path) -> None:
    nest(root / "etc", DEEP)
    (root / "file").write_text("123")
    try:
        assert confined.tree_size_bytes(root) == 3
    finally:
        confined.remove_tree(root)  # pytest could not remove it


def test_only_a_folder_is_a_tree(root: Path) -> None:
    (root / "link").symlink_to("etc")
    (root / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(NotADirectoryError):
            confined.remove_tree(root / name)
    with pytest.raises(FileNotFoundError):
        confined.remove_tree(root / "none")


@pytest.mark.root
def test_nothing_is_removed_through_a_mount(root: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").touch()
    (root / "a/b").mkdir(parents=True)
    linux.mount(str(host), str(root / "a/b"), flags=linux.MS_BIND)
    try:
        with pytest.raises(OSError, match="busy"):
            confined.remove_tree(root)
        assert (host / "file").exists()
    finally:
        for point in (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()):
            if point.startswith(str(root)):
                linux.umount(point)
    confined.remove_tree(root)


def test_remains_that_cannot_be_removed_are_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "file").touch()
    confined.remove_remains(root / "none")
    confined.remove_remains(root / "file")
    assert f"{root}/file is of no use and cannot be removed" in caplog.text
