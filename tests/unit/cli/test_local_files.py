import os
from pathlib import Path

import pytest

from shoal.cli.local_files import LocalFiles


def test_a_file_is_read_up_to_one_byte_too_many(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert LocalFiles().read(str(tmp_path / "f"), 5) == b"12345"
    assert LocalFiles().read(str(tmp_path / "f"), 3) == b"1234"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no regular file"):
        LocalFiles().read(str(tmp_path / "pipe"), 5)
    with pytest.raises(IsADirectoryError):
        LocalFiles().read(str(tmp_path), 5)
    with pytest.raises(FileNotFoundError):
        LocalFiles().read(str(tmp_path / "none"), 5)
