"""Who is asked for his view, and whose answer counts."""

import pytest

from shoal.api import v1 as api
from shoal.api.engines import MANAGER_PLUGIN
from shoal.api.gen import views_pb2 as pb
from shoal.manager.views import desk
from shoal.manager.views.desk import NOT_OURS, SILENT, TOO_MANY, TOO_MUCH, Question, concerned
from shoal.store.memory import Memory
from tests.unit.manager.builders import task

BLUE = api.Network(id="blue")


def node(node_id: str, *networks: str, ours: bool = True, state: int = api.NodeStatus.READY) -> api.Node:
    made = api.Node(id=node_id, status=api.NodeStatus(state=state, addr=f"192.0.2.{len(node_id)}"))  # type: ignore[arg-type]
    made.description.hostname = f"host-{node_id}"
    if ours:
        made.description.engine.plugins.add(type=MANAGER_PLUGIN[0], name=MANAGER_PLUGIN[1])
    for each in networks:
        made.attachments.add(network=api.Network(id=each))
    return made


def test_nodes_on_a_network_are_asked_if_they_are_ours_and_here() -> None:
    on, ended = task("web.1", node="d"), task("web.2", api.FAILED, node="e")
    for each in (on, ended):
        each.networks.add(network=BLUE)
    found = concerned(
        Memory.of(
            [
                node("a", "blue", "red"),
                node("b", "blue", ours=False),
                node("c", "blue", state=api.NodeStatus.DOWN),
                node("d"),
                node("e", "red"),
                on,
                ended,
            ]
        ),
        ["blue"],
    )
    assert [(each.node_id, each.asked, each.reason) for each in found] == [
        ("a", True, ""),
        ("b", False, NOT_OURS),
        ("c", False, "not asked: it is down"),
        ("d", True, ""),
    ]
    assert (found[0].hostname, found[0].address) == ("host-a", "192.0.2.1")


def test_no_more_than_so_many_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_NODES", 2)
    found = concerned(Memory.of([node(name, "blue") for name in "abcd"]), ["blue"])
    assert [each.reason for each in found] == ["", "", TOO_MANY, TOO_MANY]


def question() -> Question:
    return Question([pb.NodeViews(node_id=name, asked=name != "c") for name in "abc"])


def test_an_answer_counts_once_and_of_who_was_asked() -> None:
    asked = question()
    assert asked.waiting == {"a", "b"}
    assert asked.take("a", pb.ViewAnswer(views=b"[1]"))
    assert not asked.take("a", pb.ViewAnswer(views=b"[2]"))
    assert not asked.take("c", pb.ViewAnswer(views=b"[3]"))
    assert not asked.take("stranger", pb.ViewAnswer())
    assert [(each.views, each.reason) for each in asked.reply().nodes] == [(b"[1]", ""), (b"", SILENT), (b"", "")]


def test_who_cannot_be_asked_is_not_waited_for() -> None:
    asked = question()
    asked.miss("a", "no session")
    asked.miss("c", "never asked")
    assert asked.take("b", pb.ViewAnswer(reason="busy"))
    assert not asked.waiting
    assert [each.reason for each in asked.reply().nodes] == ["no session", "busy", ""]


def test_what_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_NODE_BYTES", 10)
    monkeypatch.setattr(desk, "MOST_BYTES", 15)
    asked = Question([pb.NodeViews(node_id=name, asked=True) for name in "abc"])
    assert asked.take("a", pb.ViewAnswer(views=b"x" * 11))
    assert asked.take("b", pb.ViewAnswer(views=b"x" * 10, reason="y" * 5000))
    assert asked.take("c", pb.ViewAnswer(views=b"x" * 6))
    assert [(len(each.views), each.reason) for each in asked.reply().nodes] == [
        (0, TOO_MUCH),
        (10, "y" * 1024),
        (0, TOO_MUCH),
    ]
