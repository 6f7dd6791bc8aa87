import io
import os
import sys
from pathlib import Path

import pytest

from shoal.cli.errors import CommandError
from shoal.cli.files import opened, written


def test_a_file_is_there_whole_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with written(str(path)) as write:
        write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(SystemExit), written(str(path)) as write:
        sys.exit(str(write(b"new")))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with written(str(tmp_path / "link")) as write:
        write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, text in (
        (tmp_path, "is a directory: name a file in it"),
        (tmp_path / "pipe", "is no regular file: give - to write to standard output"),
        (tmp_path / "none" / "file", "no such file or directory"),
    ):
        with pytest.raises(CommandError, match=text), written(str(path)):
            pytest.fail("it was entered")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_a_full_disk_is_told_in_one_line() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.MonkeyPatch.context() as patch:
        stdout = io.TextIOWrapper(full)
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(CommandError, match="standard output: no space left on device"), written("-") as write:
            write(b"new")
        stdout.detach()


def test_reading_tells_how_much_there_is_where_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 600_000)
    with opened(str(path)) as source:
        assert source.size_bytes == 600_000
        assert b"".join(source.pieces()) == path.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"given")))
    with opened("-") as source:
        assert source.size_bytes is None
        assert b"".join(source.pieces()) == b"given"
    with pytest.raises(CommandError, match="no such file or directory"), opened(str(tmp_path / "none")):
        pass
    with pytest.raises(CommandError, match="is a directory"), opened(str(tmp_path)):
        pass
