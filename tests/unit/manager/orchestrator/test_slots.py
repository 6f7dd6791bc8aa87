"""Which slots are filled, and which go first."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.slots import by_slot, free_numbers, is_lost, keep_order, occupants
from tests.unit.manager.builders import NOW, node, service, task


def test_free_numbers_are_the_lowest_from_one() -> None:
    assert free_numbers([], 2) == [1, 2]
    assert free_numbers([1, 3, 4], 3) == [2, 5, 6]
    assert free_numbers([1], 0) == []
    assert free_numbers([1], -2) == []


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


def test_running_tasks_then_balance_then_low_slots_decide_who_stays() -> None:
    tasks = [
        task("web.1", node="a"),
        task("web.2", node="a"),
        task("web.3", node="b"),
        task("web.4", api.PENDING),
        task("web.5", api.STARTING, node="c"),
    ]
    assert keep_order(by_slot(tasks)) == [1, 3, 5, 2, 4]


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
