"""Tasks that leave a node which still runs them, start-first if the service updates start-first."""

import random
from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import Decider
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.enforcer import Enforcer
from shoal.manager.orchestrator.leaving import PATIENCE, is_leaving
from shoal.manager.orchestrator.marks import Marks
from shoal.store.changes import Object, copy
from shoal.store.memory import Memory
from tests.unit.manager.builders import NOW, Bench, Ids, decide, everywhere, job, node, service, task, told

START_FIRST, STOP_FIRST = api.UpdateConfig.START_FIRST, api.UpdateConfig.STOP_FIRST
SSD = {"disk": "ssd"}


def web(change: Callable[[api.ServiceSpec], None] | None = None) -> api.Service:
    made = service()
    made.spec.update.order = START_FIRST
    made.spec.update.parallelism = 1
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))
    made.spec.task.placement.constraints.append("node.labels.disk==ssd")
    if change:
        change(made.spec)
    return made


def drained(name: str, state: api.NodeStatus.State = api.NodeStatus.READY) -> api.Node:
    made = node(name, state, labels=SSD)
    made.spec.availability = api.NodeSpec.DRAIN
    return made


def running(change: Callable[[api.ServiceSpec], None] | None = None) -> Bench:
    """Return a service whose only task runs on node a."""
    made = web(change)
    objects: list[Object] = [made, node("a", labels=SSD), node("b", labels=SSD), task("web.1", node="a", of=made)]
    rig = Bench(Orchestrator(random.Random(1), Ids()), objects)
    assert rig.step() == []
    return rig


def placed(rig: Bench, task_id: str, state: api.TaskState = api.ASSIGNED, node_id: str = "b") -> None:
    """Set the node that the scheduler gave a task, and the task's state."""
    changed = copy(rig.memory.tasks.get(task_id) or api.Task())
    changed.node_id, changed.status.state = node_id, state
    rig.change(changed)


def test_of_two_outdated_tasks_of_a_place_that_must_leave_one_is_stopped_at_once() -> None:
    """An update was changed amid its way; with the successor the place would have three tasks."""
    present = web(lambda spec: setattr(spec.task, "force_update", 2))
    present.spec_version.index = 3
    tasks = [task("web.1", node="a", of=web()), task("web.1.later", node="a", of=web(), version=2)]
    other = task("web.2", api.PREPARING, node="b", of=present, version=3, marks=Marks(start_at=NOW, by_update=True))
    present.spec.replicated.replicas = 2
    rig = Bench(Orchestrator(random.Random(1), Ids()), [present, drained("a"), node("b", labels=SSD), *tasks, other])
    lines = rig.step()
    assert "update web.1 on a running -> shutdown" in lines
    assert "create web.1 new -> running" in lines
    rig.report("new1", api.RUNNING)
    assert "update web.1.later on a running -> shutdown" in rig.step()


@pytest.mark.parametrize("gone", [drained("a"), node("a")])
def test_the_successor_runs_before_the_old_task_is_stopped(gone: api.Node) -> None:
    rig = running()
    rig.change(gone)
    assert rig.step() == ["create web.1 new -> running"]
    placed(rig, "new1", api.STARTING)
    assert rig.step() == []
    assert rig.look_again_at is None
    placed(rig, "new1", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]
    assert rig.step() == []


def test_a_new_leader_goes_on_with_a_move() -> None:
    rig = running()
    rig.change(drained("a"))
    rig.step()
    placed(rig, "new1", api.STARTING)
    rig.decider, rig.events = Orchestrator(random.Random(1), lambda: "x"), None
    assert rig.step() == []
    placed(rig, "new1", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]


def test_stop_first_stops_at_once() -> None:
    rig = running(lambda spec: setattr(spec.update, "order", STOP_FIRST))
    rig.change(drained("a"))
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> ready"]


def test_a_node_that_is_down_is_waited_for_by_nobody() -> None:
    rig = running()
    rig.change(drained("a", api.NodeStatus.DOWN))
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> running"]


def test_where_no_node_takes_the_successor_the_old_task_goes_all_the_same() -> None:
    """A user who drains a node wants it to be empty, so nothing may wait for ever."""
    rig = running()
    rig.change(drained("a"))
    rig.step()
    assert rig.look_again_at == NOW + PATIENCE
    assert rig.step(NOW + PATIENCE - 1) == []
    assert rig.step(NOW + PATIENCE) == ["update web.1 on a running -> shutdown"]


def test_a_successor_that_has_a_node_is_waited_for_however_long_it_takes() -> None:
    rig = running()
    rig.change(drained("a"))
    rig.step()
    placed(rig, "new1", api.PREPARING)
    rig.step()
    assert rig.step(NOW + 10 * PATIENCE) == []


def test_a_successor_that_fails_is_tried_again_while_the_old_task_runs_on() -> None:
    rig = running(lambda spec: spec.task.restart.delay.CopyFrom(duration(5)))
    rig.change(drained("a"))
    rig.step()
    placed(rig, "new1", api.FAILED)
    assert rig.step() == ["update new1 on b failed -> shutdown", "create web.1 new -> ready"]
    placed(rig, "new2", api.REJECTED)
    assert rig.step() == []
    assert rig.step(NOW + 5) == ["update new2 on b rejected -> shutdown", "create web.1 new -> ready"]
    assert rig.look_again_at is not None
    assert rig.step(rig.look_again_at) == ["update new3 new -> running"]
    placed(rig, "new3", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]


def test_where_policy_lets_no_successor_follow_the_old_task_goes() -> None:
    rig = running(lambda spec: setattr(spec.task.restart, "max_attempts", 1))
    rig.change(node("a"))
    assert rig.step() == ["create web.1 new -> running"]
    placed(rig, "new1", api.FAILED)
    assert rig.step() == ["update new1 on b failed -> shutdown", "update web.1 on a running -> shutdown"]
    rig.report("web.1", api.SHUTDOWN)
    assert rig.step() == []


def test_a_node_that_is_active_again_keeps_its_task_if_that_is_the_one_that_runs() -> None:
    rig = running()
    rig.change(drained("a"))
    rig.step()
    placed(rig, "new1", api.STARTING)
    rig.step()
    rig.change(node("a", labels=SSD))
    assert rig.step() == ["update new1 on b starting -> shutdown"]
    assert rig.step() == []


def test_a_successor_on_a_node_that_is_drained_as_well_leads_to_one_more() -> None:
    rig = running()
    rig.change(drained("a"))
    rig.step()
    placed(rig, "new1", api.RUNNING)
    rig.change(drained("b"))
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> running"]
    placed(rig, "new2", api.RUNNING, "c")
    rig.change(node("c", labels=SSD))
    assert rig.step() == ["update new1 on b running -> shutdown"]


def test_a_change_of_the_service_amid_a_move_leads_to_one_successor() -> None:
    rig = running()
    rig.change(drained("a"))
    rig.step()
    changed = web(lambda spec: setattr(spec.task.container, "image", "other"))
    changed.spec_version.index = 9
    rig.change(changed)
    assert rig.step() == [
        "update new1 new -> shutdown",
        "create web.1 new -> running",
        "update web update in progress",
    ]
    placed(rig, "new2", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]


def test_a_drain_amid_an_update_does_not_wait_for_its_turn_and_stays_start_first() -> None:
    """The update finds a task of its own spec in the slot, and must not stop the old task because of that."""
    made = web()
    made.spec.replicated.replicas = 2
    objects = [node(name, labels=SSD) for name in "abc"]
    tasks = [task("web.1", node="a", of=made), task("web.2", node="b", of=made)]
    rig = Bench(Orchestrator(random.Random(1), Ids()), [made, *objects, *tasks])
    rig.step()
    changed = copy(made)
    changed.spec.task.container.image = "other"
    changed.spec_version.index = 9
    rig.change(changed)
    assert rig.step() == ["create web.1 new -> running", "update web update in progress"]
    rig.change(drained("b"))
    assert rig.step() == ["create web.2 new -> running"]
    placed(rig, "new1", api.RUNNING, "c")
    assert rig.step() == ["update web.1 on a running -> shutdown"]
    placed(rig, "new2", api.STARTING, "c")
    assert rig.step() == []
    placed(rig, "new2", api.RUNNING, "c")
    assert rig.step() == ["update web.2 on b running -> shutdown"]


def test_an_update_that_brings_a_constraint_goes_by_its_own_parallelism() -> None:
    made = web(lambda spec: spec.task.placement.ClearField("constraints"))
    made.spec.replicated.replicas = 2
    tasks = [task(f"web.{slot}", node="a", of=made) for slot in (1, 2)]
    rig = Bench(Orchestrator(random.Random(1), Ids()), [made, node("a"), node("b", labels=SSD), *tasks])
    rig.step()
    changed = web()
    changed.spec.replicated.replicas = 2
    changed.spec_version.index = 9
    rig.change(changed)
    assert rig.step() == ["create web.1 new -> running", "update web update in progress"]
    assert rig.step() == []


@pytest.mark.parametrize("decider", [Enforcer()])
def test_what_is_moved_is_not_the_enforcers_to_reject(decider: Decider) -> None:
    made = web()
    assert told(decide(decider, [made, node("a"), task("web.1", node="a", of=made)])) == []
    coming = task("web.1", api.STARTING, node="a", of=made)
    assert told(decide(decider, [made, node("a"), coming])) == ["update web.1 on a rejected -> running"]
    made.spec.update.order = STOP_FIRST
    assert told(decide(decider, [made, node("a"), task("web.1", node="a", of=made)])) == [
        "update web.1 on a rejected -> running"
    ]


def test_only_tasks_that_run_in_slots_leave_start_first() -> None:
    made = web()
    paused = node("a")
    paused.spec.availability = api.NodeSpec.PAUSE
    assert is_leaving(Memory.of([node("a")]), made, task("web.1", node="a", of=made))
    assert not is_leaving(Memory.of([node("a", labels=SSD)]), made, task("web.1", node="a", of=made))
    assert not is_leaving(Memory.of([paused]), made, task("web.1", node="a", of=made))
    assert not is_leaving(Memory.of([node("a")]), made, task("web.1", api.STARTING, node="a", of=made))
    assert not is_leaving(Memory.of([node("a")]), made, task("web.1", desired=api.SHUTDOWN, node="a", of=made))
    assert not is_leaving(Memory.of([]), made, task("web.1", node="a", of=made, marks=Marks()))
    for change in (everywhere, job(1, 1)):
        other = web()
        change(other)
        assert not is_leaving(Memory.of([drained("a")]), other, task("web.0", node="a", of=other))
