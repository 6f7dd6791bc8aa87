import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.files import remove_tree, write_atomic


def test_new_file_has_the_data_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "state.json", b"one")
    assert (tmp_path / "state.json").read_bytes() == b"one"
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_mode_is_as_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "hosts", b"", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644


def test_old_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomic(tmp_path / "state.json", b"a longer first version")
    write_atomic(tmp_path / "state.json", b"two")
    assert (tmp_path / "state.json").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["state.json"]


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "state.json", b"x")


def test_refused_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "state.json", b"x")
    assert os.listdir(tmp_path) == ["state.json"]


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size. The kernel then acts as on a full disk."""
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old_limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)


def test_refused_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    write_atomic(tmp_path / "state.json", b"old")
    with largest_file(4096), pytest.raises(OSError, match="File too large") as refused:
        write_atomic(tmp_path / "state.json", b"x" * 10_000)
    assert refused.value.errno == errno.EFBIG
    assert (tmp_path / "state.json").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.root
def test_full_disk_leaves_the_old_file_whole(small_disk: Path) -> None:
    write_atomic(small_disk / "state.json", b"old")
    with pytest.raises(OSError, match="No space left") as refused:
        write_atomic(small_disk / "state.json", b"x" * 2_000_000)
    assert refused.value.errno == errno.ENOSPC
    assert (small_disk / "state.json").read_bytes() == b"old"
    assert os.listdir(small_disk) == ["state.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_tree_is_removed_whole_and_its_absence_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "c").write_text("x")
    remove_tree(folder)
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []
