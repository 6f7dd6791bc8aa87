"""What the orchestrator looks at, and what it leaves alone."""

import random

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.marks import Marks, write
from shoal.store.changes import Object, copy
from tests.unit.manager.builders import NOW, Bench, Ids, node, service, task

NODES = [node("a"), node("b")]


def bench(*objects: Object) -> Bench:
    return Bench(Orchestrator(random.Random(1), Ids()), [*NODES, *objects])


def at_once(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))


def test_tasks_of_a_removed_service_are_to_be_removed() -> None:
    rig = bench(service(replicas=1), task("web.1", node="a"))
    assert rig.step() == []
    rig.apply(lambda tx: tx.remove(api.Service, "web"))
    assert rig.step() == ["update web.1 on a running -> remove"]


def test_tasks_of_a_service_removed_under_another_leader_are_found() -> None:
    assert bench(task("web.1", node="a")).step() == ["update web.1 on a running -> remove"]


def test_a_plan_that_was_not_committed_is_made_again() -> None:
    web = service(replicas=3, change=at_once)
    rig = bench(web, task("web.1", api.FAILED, of=web), task("web.2", node="gone", of=web))
    first = rig.decider.decide(rig.memory, NOW, None)
    assert len(first.changes) == 5
    again = rig.decider.decide(rig.memory, NOW, None)
    assert [type(change) for change in again.changes] == [type(change) for change in first.changes]


def test_a_service_without_a_mode_is_left_alone() -> None:
    web = service()
    web.spec.ClearField("replicated")
    assert bench(web, task("web.1", api.FAILED)).step() == []


def test_one_report_costs_one_slot() -> None:
    web = service(replicas=200, change=at_once)
    rig = bench(web, *(task(f"web.{slot}", node="a", of=web) for slot in range(1, 201)))
    rig.step()
    rig.report("web.7", api.FAILED)
    asked: list[object] = []
    find = rig.memory.tasks.find

    class Counting:
        """The table, which counts the calls."""

        def __getattr__(self, name: str) -> object:
            return getattr(table, name)

        def find(self, index: str, key: object) -> list[api.Task]:
            asked.append(key)
            return find(index, key)

    table = rig.memory.tasks
    rig.memory.tasks = Counting()  # type: ignore[assignment]
    plan = rig.decider.decide(rig.memory, NOW, rig.events)
    assert len(plan.changes) == 2
    assert asked == [("web", 7)]


def test_a_task_on_its_way_costs_nothing() -> None:
    web = service(replicas=2)
    rig = bench(web, task("web.1", api.ASSIGNED, node="a", of=web), task("web.2", api.ASSIGNED, node="b", of=web))
    rig.step()
    for state in (api.ACCEPTED, api.PREPARING, api.READY, api.STARTING):
        rig.report("web.1", state)
    table = rig.memory.tasks
    rig.memory.tasks = None  # type: ignore[assignment] # it would fail if it were asked
    assert rig.step() == []
    rig.memory.tasks = table
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> ready"]


def test_a_task_that_is_only_told_when_to_start_is_looked_at() -> None:
    """It is no report of its node, although neither the state nor the desired state has changed."""
    web = service(replicas=1)
    waiting = task("web.1", api.READY, api.READY, node="a", of=web, marks=Marks(start_at=NOW + 100))
    rig = bench(web, waiting)
    assert rig.step() == []
    write(waiting := copy(waiting), Marks(start_at=NOW))
    rig.change(waiting)
    assert rig.step() == ["update web.1 on a ready -> running"]
