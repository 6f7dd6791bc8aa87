"""What a replicated service needs: views in, whole plans out."""

import random
from collections.abc import Callable
from itertools import pairwise

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.orchestrator import ReplicatedOrchestrator
from shoal.manager.orchestrator.marks import Marks, read
from shoal.store.changes import Object, copy
from tests.unit.manager.builders import NOW, Bench, Ids, node, service, task

NODES = [node("a"), node("b")]


def bench(*objects: Object) -> Bench:
    return Bench(ReplicatedOrchestrator(random.Random(1), Ids()), [*NODES, *objects])


def at_once(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))


def changed(obj: api.Service, change: Callable[[api.Service], None]) -> api.Service:
    made = copy(obj)
    change(made)
    made.spec_version.index += 1
    return made


def test_a_new_service_gets_its_tasks_and_no_update() -> None:
    rig = bench(service(replicas=2))
    assert rig.step() == ["create web.1 new -> running", "create web.2 new -> running"]
    assert rig.step() == []
    assert rig.look_again_at is None


def test_scaling_up_fills_the_lowest_free_slots() -> None:
    rig = bench(service(replicas=4), task("web.2", node="a"), task("web.3", node="a"))
    assert rig.step() == ["create web.1 new -> running", "create web.4 new -> running"]


def test_scaling_down_keeps_what_ended_in_a_slot_until_the_service_changes_again() -> None:
    web = service(replicas=1)
    rig = bench(
        web,
        task("web.1", node="a"),
        task("web.2", node="b"),
        task("web.2.old", api.FAILED, api.SHUTDOWN, node="b"),
    )
    assert rig.step() == ["update web.2 on b running -> remove"]
    rig.apply(lambda tx: tx.remove(api.Task, "web.2"))
    assert rig.step() == []
    rig.apply(lambda tx: tx.update(changed(web, lambda made: at_once(made))))
    assert "update web.2.old on b failed -> remove" in rig.step()


def test_tasks_of_a_removed_service_are_to_be_removed() -> None:
    rig = bench(service(replicas=1), task("web.1", node="a"))
    assert rig.step() == []
    rig.apply(lambda tx: tx.remove(api.Service, "web"))
    assert rig.step() == ["update web.1 on a running -> remove"]


def test_tasks_of_a_service_removed_under_another_leader_are_found() -> None:
    assert bench(task("web.1", node="a")).step() == ["update web.1 on a running -> remove"]


def test_without_delay_an_ended_task_is_replaced_in_the_same_plan() -> None:
    web = service(change=at_once)
    rig = bench(web, task("web.1", node="a", of=web))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> running"]
    assert rig.step() == []
    assert rig.look_again_at is None


def test_with_a_delay_the_replacement_gets_ready_and_waits() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> ready"]
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 4.9) == []
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 5.0) == ["update new1 new -> running"]


def test_a_new_leader_waits_out_the_same_delay() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    rig.step()
    rig.decider, rig.events = ReplicatedOrchestrator(random.Random(1), Ids()), None
    assert rig.step(NOW + 3.0) == []
    assert rig.look_again_at == NOW + 5.0


def test_a_replacement_that_fails_while_it_waits_is_not_hurried() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    rig.step()
    rig.report("new1", api.REJECTED)
    assert rig.step(NOW + 1.0) == []
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 5.0) == ["update new1 rejected -> shutdown", "create web.1 new -> ready"]


def test_an_image_that_is_nowhere_is_asked_for_ever_more_slowly() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    waits: list[float] = []
    last = "web.1"
    for number in range(1, 8):
        rig.report(last, api.REJECTED)
        assert "create web.1 new -> ready" in rig.step()
        assert rig.look_again_at is not None
        waits.append(rig.look_again_at - rig.now)
        last = f"new{number}"
        assert rig.step(rig.look_again_at) == [f"update {last} new -> running"]
    assert waits[0] == 5.0
    assert all(48 <= wait <= 60 for wait in waits[4:])
    assert all(later > sooner for sooner, later in pairwise(waits[:4]))


def test_a_lost_nodes_tasks_are_replaced() -> None:
    web = service(replicas=2, change=at_once)
    rig = bench(web, task("web.1", node="a", of=web), task("web.2", node="b", of=web))
    rig.step()
    rig.change(node("a", api.NodeStatus.DOWN))
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> running"]


def test_a_drained_nodes_replacements_wait_for_the_old_tasks() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> ready"]
    assert rig.look_again_at == NOW + 60.0
    rig.report("web.1", api.SHUTDOWN)
    assert rig.step(NOW + 1.0) == ["update new1 new -> running"]
    assert rig.look_again_at is None


def test_a_task_that_does_not_stop_is_waited_for_a_minute() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    rig.step()
    assert rig.step(NOW + 59.0) == []
    assert rig.step(NOW + 60.0) == ["update new1 new -> running"]


def test_paused_and_unknown_nodes_keep_their_tasks() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    paused = node("a", api.NodeStatus.UNKNOWN)
    paused.spec.availability = api.NodeSpec.PAUSE
    rig.change(paused)
    assert rig.step() == []


def test_a_used_up_budget_leaves_the_slot_to_its_dead_task() -> None:
    def once(made: api.Service) -> None:
        at_once(made)
        made.spec.task.restart.max_attempts = 1

    web = service(change=once)
    rig = bench(web, task("web.1", node="a", of=web))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> running"]
    rig.report("new1", api.FAILED)
    assert rig.step(NOW + 1) == ["update new1 failed -> shutdown"]
    rig.decider, rig.events = ReplicatedOrchestrator(random.Random(1), Ids()), None
    assert rig.step() == []


def test_a_task_somebody_deleted_is_made_again() -> None:
    rig = bench(service(replicas=1), task("web.1", node="a"))
    rig.step()
    rig.apply(lambda tx: tx.remove(api.Task, "web.1"))
    assert rig.step() == ["create web.1 new -> running"]


def test_a_plan_that_was_not_committed_is_made_again() -> None:
    web = service(replicas=3, change=at_once)
    rig = bench(web, task("web.1", api.FAILED, of=web), task("web.2", node="gone", of=web))
    first = rig.decider.decide(rig.memory, NOW, None)
    assert len(first.changes) == 5
    again = rig.decider.decide(rig.memory, NOW, None)
    assert [type(change) for change in again.changes] == [type(change) for change in first.changes]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    rig = bench(service(replicas=MAX_CHANGES + 2))
    assert len(rig.step()) == MAX_CHANGES
    assert rig.look_again_at == NOW
    assert rig.step() == [
        f"create web.{MAX_CHANGES + 1} new -> running",
        f"create web.{MAX_CHANGES + 2} new -> running",
    ]
    assert rig.step() == []
    rig.change(changed(service(), lambda made: None))
    removed = 0
    while lines := rig.step():
        removed += len(lines)
    assert removed == MAX_CHANGES + 1


def test_other_modes_are_left_to_others() -> None:
    def make_global(made: api.Service) -> None:
        getattr(made.spec, "global").SetInParent()

    assert bench(service(change=make_global), task("web.0", api.FAILED)).step() == []


def test_one_report_costs_one_slot() -> None:
    web = service(replicas=200, change=at_once)
    rig = bench(web, *(task(f"web.{slot}", node="a", of=web) for slot in range(1, 201)))
    rig.step()
    rig.report("web.7", api.FAILED)
    asked: list[object] = []
    find = rig.memory.tasks.find

    class Counting:
        """The table, keeping account of what is asked of it."""

        def __getattr__(self, name: str) -> object:
            return getattr(table, name)

        def find(self, index: str, key: object) -> list[api.Task]:
            asked.append(key)
            return find(index, key)  # type: ignore[arg-type]

    table = rig.memory.tasks
    rig.memory.tasks = Counting()  # type: ignore[assignment]
    plan = rig.decider.decide(rig.memory, NOW, rig.events)
    assert len(plan.changes) == 2
    assert asked == [("web", 7)]


def test_the_replacement_knows_what_it_replaces() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    rig.step()
    made = rig.memory.tasks.get("new1")
    assert made is not None
    assert read(made) == Marks(replaces="web.1", start_at=NOW)
