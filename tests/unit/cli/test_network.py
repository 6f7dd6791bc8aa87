import json
from pathlib import Path
from typing import Any

import pytest

from shoal.cli import network
from tests.unit.cli.daemons import daemon
from tests.unit.cli.test_network_views import ANSWER, replaced
from tests.unit.cli.test_swarm import folder, shoal
from tests.unit.engine.fakes import FakeOverlays
from tests.unit.engine.test_network_views import manager, overlays

__all__ = ["folder"]
Captured = pytest.CaptureFixture[str]


def saved(path: Path, *answers: Any) -> str:
    path.write_text(json.dumps({"Views": answers, "Rows": []}))
    return str(path)


def second(names: Any) -> dict[str, Any]:
    """The view of another node on the network, with other names."""
    answer: dict[str, Any] = json.loads(json.dumps(ANSWER))
    answer["Node"] = {"ID": "n2", "Hostname": "second"}
    answer["Networks"] = answer["Networks"][:1]
    answer["Networks"][0]["Layers"]["names"] = names
    return answer


def test_views_of_files_stand_side_by_side(folder: Path, capsys: Captured) -> None:
    first, other = saved(folder / "a.json", ANSWER), saved(folder / "b.json", second({"web": ["10.0.1.9"]}))
    assert shoal("", "network", "doctor", "--compare", first, "--compare", other, "--no-trunc") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NETWORK", "WHAT", "OF", "STORE", "FIRST", "SECOND", "DIFFERENCE"]
    (web,) = [line for line in lines if line.split()[1:3] == ["name", "web"]]
    assert web.split() == ["blue", "name", "web", "10.0.1.2", "10.0.1.9", "≠", "nodes", "differ"]


def test_only_what_differs_is_printed_and_json_can_be_compared_again(folder: Path, capsys: Captured) -> None:
    path = saved(folder / "a.json", ANSWER, second({"web": ["10.0.1.9"]}))
    assert shoal("", "network", "doctor", "--compare", path, "--differences", "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert all(row["Differences"] for row in found["Rows"])
    assert ("name", "web") in [(row["Kind"], row["Subject"]) for row in found["Rows"]]
    (folder / "again.json").write_text(json.dumps(found))
    assert shoal("", "network", "doctor", "--compare", str(folder / "again.json"), "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["Views"] == found["Views"]


def test_a_file_without_views_is_refused(folder: Path, capsys: Captured) -> None:
    for content in ("", "[]", "{}", '{"Views": 5}'):
        (folder / "x").write_text(content)
        assert shoal("", "network", "doctor", "--compare", str(folder / "x")) == 1
        assert capsys.readouterr().err == (
            f"shoal: {folder / 'x'} has no views: save them by shoal network doctor --format json\n"
        )
    assert shoal("", "network", "doctor", "--compare", str(folder / "gone")) == 1
    assert capsys.readouterr().err == f"shoal: {folder / 'gone'} cannot be read: no such file or directory\n"


def test_daemons_are_asked_and_a_difference_is_looked_at_twice(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "AGAIN_AFTER", 0.0)
    asked = []
    known = overlays()
    known.layers["blue-id"] = {"wanted": {}, "kernel": {}}

    async def view(network_id: str) -> dict[str, Any]:
        asked.append(network_id)
        return await FakeOverlays.view(known, network_id)

    monkeypatch.setattr(known, "view", view)
    with daemon(folder, manager(), known) as url:
        assert shoal(url, "network", "doctor", "web", "--with", url, "--no-trunc") == 1
    out = capsys.readouterr().out
    assert "HOST-1#1" in out
    assert "HOST-1#2" in out
    assert "≠ no node knows this task" in out
    assert asked == ["blue-id"] * 4


def test_a_manager_is_asked_for_other_nodes_and_alone_for_none(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "AGAIN_AFTER", 0.0)
    made = manager()
    made.views.nodes.add(node_id="b", hostname="other", asked=False, reason="not asked: it runs a Docker Engine")
    with daemon(folder, made, overlays()) as url:
        shoal(url, "network", "doctor", "blue", "--no-trunc", "--with", url)
        assert made.asked
        lines = capsys.readouterr().out.splitlines()
        made.asked.clear()
        shoal(url, "network", "doctor", "blue", "--alone", "--format", "json")
        assert not made.asked
    assert lines[0].split() == ["NETWORK", "WHAT", "OF", "STORE", "HOST-1#1", "HOST-1#2", "OTHER", "DIFFERENCE"]
    (engine,) = [line for line in lines if "Docker Engine" in line]
    assert "≠" not in engine
    assert [each["Node"]["Hostname"] for each in json.loads(capsys.readouterr().out)["Views"]] == ["host-1"]


def test_nothing_to_mark_is_success(folder: Path, capsys: Captured) -> None:
    with daemon(folder, manager(), overlays()) as url:
        assert shoal(url, "network", "doctor", "red") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NETWORK", "WHAT", "OF", "HOST-1", "DIFFERENCE"]
    assert row.split()[:5] == ["red", "no", "view", "network", "red-id"]
    path = saved(folder / "x", replaced(ANSWER, 0, {}))
    assert shoal("", "network", "doctor", "--compare", path) == 0
