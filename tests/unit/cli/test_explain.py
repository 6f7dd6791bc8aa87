import json
from pathlib import Path

import pytest

from shoal.api import v1 as api
from tests.unit.cli.daemons import daemon
from tests.unit.cli.test_swarm import folder, shoal
from tests.unit.engine.fakes import FakeNode, manager_node
from tests.unit.manager.builders import node, service, task

__all__ = ["folder"]
Captured = pytest.CaptureFixture[str]

AT = 1_700_000_000.0  # the time at which the fake manager is asked


def manager() -> FakeNode:
    made = task("web.1", node="a")
    made.spec.placement.constraints.append("node.labels.disk==ssd")
    made.spec.placement.preferences.add().spread.spread_descriptor = "node.labels.zone"
    nodes = [node("a"), node("b"), node("c", labels={"disk": "ssd", "zone": "x"})]
    others = [task("web.2", node="c"), *(task(f"web.3.{n}", api.FAILED, node="c", reported_at=AT) for n in range(5))]
    return manager_node(service(), *nodes, *others, made)[0]


def test_nodes_are_listed_with_what_speaks_for_and_against_them(folder: Path, capsys: Captured) -> None:
    with daemon(folder, manager()) as url:
        assert shoal(url, "task", "explain", "web.1") == 0
    against = 'scheduling constraints not satisfied: node.labels.disk==ssd, but it is ""'
    assert capsys.readouterr().out.splitlines() == [
        "the task was placed on node a: this is how it would be placed now",
        "  task   web.1",
        "  state  running",
        "  nodes  1 of 3 can take it",
        "  a      here: other tasks there: 0 of the service, 0 in all; node.labels.zone is absent, with 0;"
        f" now cannot: {against}",
        "  c      can: other tasks there: 1 of the service, 1 in all; node.labels.zone is x, with 1; 5 failed here"
        " lately, so it goes last",
        f"  b      cannot: {against}",
    ]


def test_json_is_the_daemons_answer(folder: Path, capsys: Captured) -> None:
    with daemon(folder, manager()) as url:
        assert shoal(url, "task", "explain", "--format", "json", "web.1") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["NodeID"] for one in found["Nodes"]] == ["a", "c", "b"]


def test_a_task_that_is_not_there_is_one_line_of_an_error(folder: Path, capsys: Captured) -> None:
    with daemon(folder, manager()) as url:
        assert shoal(url, "task", "explain", "gone") == 1
    assert capsys.readouterr().err == "shoal: task gone not found\n"
