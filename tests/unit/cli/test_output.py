import json

import pytest

from shoal.cli import output


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (11_980, "11.98 kB"), (1_234_567_890, "1.235 GB")]
)
def test_sizes_are_as_docker_prints_them(size_bytes: int, text: str) -> None:
    assert output.human_size(size_bytes) == text


def test_objects_are_counted_by_kind() -> None:
    assert output.counted({"tasks": 3, "clusters": 1, "services": 2}) == "6: 1 cluster, 2 services, 3 tasks"
    assert output.counted({}) == "0"


def test_rows_stand_below_each_other_and_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    digest = "f" * 200
    output.show("Title [x]", [("a", "1"), ("longer", digest)], [f"note {digest}"])
    assert capsys.readouterr().out.splitlines() == ["Title [x]", "  a       1", f"  longer  {digest}", f"note {digest}"]


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json({"A": 1}, on_stderr=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert json.loads(told.err) == {"A": 1}


def test_progress_hands_on_what_it_counts() -> None:
    assert list(output.progress(iter([b"a", b"b"]), None, "saving")) == [b"a", b"b"]
