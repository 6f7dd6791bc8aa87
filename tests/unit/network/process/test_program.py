"""The program around the server: one a folder, and what it leaves to a successor."""

import os
import sys
from pathlib import Path

import pytest

from shoal.network.process import program


def test_one_at_a_time_has_a_folder(tmp_path: Path) -> None:
    held = program.lock(tmp_path)
    with pytest.raises(program.InUse):
        program.lock(tmp_path)
    assert program.main(["--folder", str(tmp_path), "--tag", "x"]) == program.ANOTHER_SERVES
    os.close(held)
    os.close(program.lock(tmp_path))


def test_a_program_that_is_not_there_leaves_this_one_going(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        program.replace([str(tmp_path / "none")], {}, {})
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_command_line_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main([])
    assert "--folder" in capsys.readouterr().err
    assert sys.argv  # argparse was given its own arguments
