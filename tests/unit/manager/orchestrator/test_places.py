"""Places of services, and what fills them."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, by_place, is_lost, needs_replacing, occupants, place_of, tasks_in
from shoal.store.memory import Memory
from tests.unit.manager.builders import NOW, node, service, task


def on_every_node(made: api.Service) -> None:
    getattr(made.spec, "global").SetInParent()


def test_the_place_of_a_task_is_its_slot_or_its_node() -> None:
    assert place_of(service(), task("web.2", node="a")) == Place(2)
    assert place_of(service(change=on_every_node), task("web.0", node="a")) == Place(node_id="a")
    assert sorted([Place(3), Place(node_id="b"), Place(1), Place(node_id="a")])[2:] == [Place(1), Place(3)]


def test_tasks_are_found_by_their_place() -> None:
    web, each = service(), service("each", change=on_every_node)
    first, second, mine, other = (
        task("web.1", node="a"),
        task("web.1.old", api.FAILED, api.SHUTDOWN, node="b"),
        task("each.0", node="a"),
        task("each.0.b", node="b"),
    )
    view = Memory.of([web, each, first, second, mine, other, task("web.2", node="a")])
    assert tasks_in(view, web, Place(1)) == [first, second]
    assert tasks_in(view, each, Place(node_id="a")) == [mine]
    assert by_place(web, [second, first]) == {Place(1): [second, first]}
    assert by_place(each, [other, mine]) == {Place(node_id="a"): [mine], Place(node_id="b"): [other]}


def test_a_task_is_to_be_replaced_when_it_ended_or_its_node_is_lost() -> None:
    view = Memory.of([node("a"), node("b", api.NodeStatus.DOWN)])
    assert not needs_replacing(view, task("web.1", node="a"))
    assert not needs_replacing(view, task("web.1"))
    assert needs_replacing(view, task("web.1", api.FAILED, node="a"))
    assert needs_replacing(view, task("web.1", node="b"))


def test_nodes_are_lost_when_gone_down_or_drained() -> None:
    drained, paused = node("a"), node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    paused.spec.availability = api.NodeSpec.PAUSE
    assert is_lost(None)
    assert is_lost(drained)
    assert is_lost(node("a", api.NodeStatus.DOWN))
    for state in (api.NodeStatus.UNKNOWN, api.NodeStatus.DISCONNECTED):
        assert not is_lost(node("a", state))
    assert not is_lost(paused)


def test_a_slot_is_filled_by_what_is_meant_to_run() -> None:
    tasks = [task("web.1.old", api.SHUTDOWN, api.SHUTDOWN), task("web.1", api.FAILED)]
    assert occupants(tasks, service()) == [tasks[1]]
    assert occupants(tasks[:1], service()) == []


def never(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.NONE


def test_a_task_that_may_not_be_restarted_fills_its_slot() -> None:
    one_shot = service(change=never)
    tasks = [
        task("web.1.a", api.COMPLETE, api.SHUTDOWN, of=one_shot, reported_at=NOW - 1),
        task("web.1.b", api.COMPLETE, api.SHUTDOWN, of=one_shot, reported_at=NOW),
    ]
    assert occupants(tasks, one_shot) == [tasks[1]]
    assert occupants([task("web.1", api.COMPLETE, api.REMOVE, of=one_shot)], one_shot) == []
    one_shot.update_status.state = api.UpdateStatus.ROLLBACK_STARTED
    assert occupants(tasks, one_shot) == []
