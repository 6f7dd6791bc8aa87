import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from shoal.cli.errors import CommandError
from shoal.cli.stack_files import read_project, stack_name
from tests.unit.cli.stacks import write


def test_the_usual_files_are_taken_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=r"there is no compose.yaml here"):
        read_project(None)
    write(tmp_path, compose_yaml="services: {w: {image: a}}", compose_override_yaml="services: {w: {hostname: h}}")
    assert read_project(None).services["w"].find("hostname") == "h"


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"services: {w: {image: '$A'}}")))
    monkeypatch.setitem(os.environ, "A", "x")
    assert read_project(["-"], "s").services["w"].find("image") == "x"


def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, c_yaml="services: {w: {imag: a}}")
    with pytest.raises(CommandError) as error:
        read_project(["c.yaml"])
    assert str(error.value).startswith("c.yaml:1:16: services.w.imag: is no key")


def test_names_of_stacks() -> None:
    assert stack_name("web") == "web"
    with pytest.raises(CommandError, match="must have a name"):
        stack_name(" ")
