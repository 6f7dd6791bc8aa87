"""CDI files on disk are read when they change, and left out if they are wrong or if others than root may write to
them.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import FailedPrecondition
from shoal.runtime import devices
from shoal.runtime.cdi_edits import Numbers
from shoal.runtime.cdi_spec import NO_EDITS, BadCdi, DeviceNode
from shoal.runtime.devices import Devices, look, read_yaml

YAML = """
cdiVersion: "0.6.0"
kind: "vendor.com/gpu"
devices:
- name: 0
  containerEdits:
    deviceNodes:
    - path: /dev/null
      fileMode: 0666
"""


def value(*names: str) -> str:
    made = [{"name": name, "containerEdits": {"env": [f"NAME={name}"]}} for name in names]
    return json.dumps({"cdiVersion": "0.6.0", "kind": "vendor.com/gpu", "devices": made})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The user of this test stands for root: nobody else can write to the folder either.
    status = os.stat

    def as_root(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        return _owned_by_root(status(path, follow_symlinks=follow_symlinks))

    monkeypatch.setattr(os, "stat", as_root)
    monkeypatch.setattr(os, "fstat", lambda number: _owned_by_root(status(number)))
    tmp_path.chmod(0o755)
    return tmp_path


def _owned_by_root(status: os.stat_result) -> os.stat_result:
    fields = {name: getattr(status, name) for name in ("st_ctime_ns", "st_mtime_ns", "st_rdev")}
    return os.stat_result([*status[:4], 0, 0, *status[6:]], fields)


def test_json_and_yaml_are_read(folder: Path) -> None:
    (folder / "a.json").write_text(value("a"))
    (folder / "b.yaml").write_text(YAML)
    (folder / "c.txt").write_text("no")
    found = Devices([folder, folder / "none"])
    assert found.names == []
    assert found.refresh()
    assert found.names == ["vendor.com/gpu=0", "vendor.com/gpu=a"]
    assert found.edits([("gpu", "0")]).nodes == (DeviceNode("/dev/null", file_mode=0o666),)
    assert found.edits([]) == NO_EDITS


def test_changes_are_seen_and_rest_costs_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "a.json"
    path.write_text(value("a"))
    found = Devices([folder])
    assert found.refresh()
    assert not found.refresh()
    path.write_text(value("a", "b"))
    assert [offer.value for offer in found.offers] == ["a"]
    # A start of a container uses the present contents of the files.
    assert found.edits([("gpu", "b")]).env == ("NAME=b",)
    assert [offer.value for offer in found.offers] == ["a", "b"]
    path.write_text("{")
    assert found.refresh()
    assert found.names == []
    assert "a.json is not taken: it is no JSON" in caplog.text
    with pytest.raises(FailedPrecondition, match="unresolvable CDI devices gpu=b"):
        found.edits([("gpu", "b")])
    path.unlink()
    assert found.refresh()
    assert not found.refresh()


def test_a_device_that_is_gone_for_a_moment_is_offered_on(folder: Path) -> None:
    now = 100.0
    found = Devices([folder], clock=lambda: now)
    path = folder / "a.json"

    def offered(*names: str) -> list[str]:
        path.write_text(value(*names))
        found.refresh()
        return [offer.value for offer in found.offers]

    assert offered("a", "b") == ["a", "b"]
    assert offered("a") == ["a", "b"]
    now += devices.WITHDRAWN_AFTER - 1
    assert offered("a", "c") == ["a", "c", "b"]
    with pytest.raises(FailedPrecondition):
        found.edits([("gpu", "b")])
    assert offered("a", "b", "c") == ["a", "b", "c"]
    now += 1
    assert offered("c") == ["c", "a", "b"]
    now += devices.WITHDRAWN_AFTER
    assert [offer.value for offer in found.offers] == ["c"]
    assert offered("b") == ["b", "c"]


def test_a_link_to_a_file_is_followed_and_seen_to_change(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    target = folder / "elsewhere" / "x.json"
    target.write_text(value("a"))
    (folder / "a.json").symlink_to(target)
    found = Devices([folder])
    found.refresh()
    target.write_text(value("b"))
    assert found.refresh()
    assert found.names == ["vendor.com/gpu=b"]


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_file_that_others_may_write_is_not_read(folder: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "a.json"
    path.write_text(value("a"))
    path.chmod(mode)
    found = Devices([folder])
    found.refresh()
    assert found.names == []
    assert "others than root may write to it, and what it says runs as root" in caplog.text
    path.chmod(0o644)
    found.refresh()
    assert found.names == ["vendor.com/gpu=a"]
    folder.chmod(0o777)
    found.refresh()
    assert found.names == []
    assert "others than root may write to its folder" in caplog.text


def test_a_file_of_another_user_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.json"
    path.write_text(value("a"))
    if os.geteuid() == 0:
        os.chown(path, 1, 1)
    found = Devices([tmp_path])
    found.refresh()
    assert found.names == []
    assert "others than root may write" in caplog.text


def test_what_is_no_file_or_too_large_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(folder / "a.json")
    (folder / "b.json").mkdir()
    (folder / "c.json").write_text(" " * (devices.MAX_FILE_BYTES + 1))
    (folder / "d.json").write_bytes(b"\xff\xfe")
    (folder / "e.json").symlink_to(folder / "none")
    (folder / "f.json").write_text("[" * 100_000)
    (folder / "g.json").write_text(value("good"))
    found = Devices([folder])
    found.refresh()
    assert found.names == ["vendor.com/gpu=good"]
    for words in ("a.json is not taken: it is no file", "larger than 1048576 bytes", "d.json is not taken: it is no"):
        assert words in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "it has references"),
        ("[" * 100, "it is deeper than 32 levels"),
        ("[" * 100_000, "it is no YAML"),
        ("- " * 1000 + "a", "it is deeper than 32 levels"),
        ("{", "it is no YAML"),
        ("a: 1\n---\nb: 2", "it is no YAML"),
        ("!!python/object/apply:os.system ['true']", "it is no YAML"),
        ("? [a]\n: b", "it is no YAML"),
        ("2001-99-99", "it is no YAML"),
        ("\x01", "it is no YAML"),
        ("9" * 10_000, "it is no YAML"),
    ],
)
def test_yaml_that_is_not_read(text: str, words: str) -> None:
    with pytest.raises(BadCdi) as raised:
        read_yaml(text)
    assert words in str(raised.value)


@given(st.text(max_size=200) | st.text("{}[]&*!:-?#|>'\"a1 \n\t", max_size=60))
def test_any_text_is_yaml_or_not(text: str) -> None:
    try:
        read_yaml(text)
    except BadCdi as error:
        said = str(error)
    else:
        said = "yes"
    assert said


def test_device_files_of_this_host() -> None:
    assert look("/dev/null") == Numbers("c", 1, 3)
    assert look("/dev/none") is None
    assert look("/") is None
