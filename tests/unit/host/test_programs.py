"""Host programs are found, or named with their package."""

import pytest

from shoal.errors import MissingProgram
from shoal.host import programs


def test_a_program_in_an_sbin_folder_is_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert programs.find("mount").endswith("/mount")


def test_a_missing_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setattr(programs, "_FOLDERS", ())
    with pytest.raises(MissingProgram, match="etcd is not installed on this host: install the package etcd-server"):
        programs.find("etcd")
