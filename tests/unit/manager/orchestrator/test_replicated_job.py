"""Replicated jobs: how many tasks run at a time, which slots they get, what counts as done."""

import random
from collections.abc import Callable

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.places import Place
from shoal.manager.orchestrator.replicated_job import Progress, Tally
from shoal.store.changes import Object
from tests.unit.manager.builders import NOW, Bench, Ids, job, node, service, task


def bench(*objects: Object) -> Bench:
    return Bench(Orchestrator(random.Random(1), Ids()), [node("a"), *objects])


def batch(
    total: int, at_a_time: int, iteration: int = 0, change: Callable[[api.ServiceSpec], None] | None = None
) -> api.Service:
    def both(made: api.Service) -> None:
        job(total, at_a_time, iteration)(made)
        made.spec.task.restart.condition = api.RestartPolicy.ANY
        made.spec.task.restart.delay.CopyFrom(duration(0))
        if change:
            change(made.spec)

    return service("batch", change=both)


def never_again(spec: api.ServiceSpec) -> None:
    spec.task.restart.condition = api.RestartPolicy.NONE


def test_so_many_at_a_time_until_so_many_are_done() -> None:
    rig = bench(batch(3, 2))
    assert rig.step() == ["create batch.0 new -> complete", "create batch.1 new -> complete"]
    rig.report("new2", api.COMPLETE)
    assert rig.step() == ["create batch.2 new -> complete"]
    rig.report("new1", api.COMPLETE)
    rig.report("new3", api.COMPLETE)
    assert rig.step() == []
    assert rig.look_again_at is None


def test_a_new_leader_counts_what_is_done() -> None:
    rig = bench(batch(3, 1))
    rig.step()
    rig.report("new1", api.COMPLETE)
    rig.decider, rig.events = Orchestrator(random.Random(1), lambda: "x"), None
    assert rig.step() == ["create batch.1 new -> complete"]


def test_more_at_a_time_than_there_are_in_all_means_all() -> None:
    assert len(bench(batch(2, 9)).step()) == 2
    assert bench(batch(0, 3)).step() == []
    assert bench(batch(3, 0)).step() == []


def test_a_failed_task_is_tried_again_in_its_slot_and_counts_as_at_work() -> None:
    rig = bench(batch(3, 1))
    rig.step()
    rig.report("new1", api.FAILED)
    assert rig.step() == ["update new1 failed -> shutdown", "create batch.0 new -> complete"]
    rig.report("new2", api.COMPLETE)
    assert rig.step() == ["create batch.1 new -> complete"]


def test_success_is_not_tried_again_whatever_the_policy_says() -> None:
    rig = bench(batch(1, 1, change=lambda spec: setattr(spec.task.restart, "condition", api.RestartPolicy.ANY)))
    rig.step()
    rig.report("new1", api.COMPLETE)
    assert rig.step() == []


def test_a_slot_that_may_not_be_tried_again_makes_room_for_the_next_and_stays() -> None:
    rig = bench(batch(2, 1, change=never_again))
    rig.step()
    rig.report("new1", api.FAILED)
    assert rig.step() == ["update new1 failed -> shutdown"]
    assert rig.step() == ["create batch.1 new -> complete"]
    rig.report("new2", api.COMPLETE)
    assert rig.step() == []


def test_a_task_on_a_lost_node_is_begun_elsewhere_and_one_that_was_done_is_not() -> None:
    made = batch(2, 2)
    rig = bench(
        made,
        node("b"),
        task("batch.0", api.COMPLETE, api.COMPLETE, node="b", of=made),
        task("batch.1", api.RUNNING, api.COMPLETE, node="b", of=made),
    )
    assert rig.step() == []
    rig.change(node("b", api.NodeStatus.DOWN))
    assert rig.step() == ["update batch.1 on b running -> shutdown", "create batch.1 new -> complete"]


def test_a_task_that_completed_on_a_node_taken_for_down_has_done_its_slot() -> None:
    spec = batch(2, 1)
    rig = bench(spec, node("b"), task("batch.0", desired=api.COMPLETE, node="b", of=spec))
    assert rig.step() == []
    rig.change(node("b", api.NodeStatus.DOWN))
    assert rig.step() == ["update batch.0 on b running -> shutdown", "create batch.0 new -> complete"]
    rig.report("batch.0", api.COMPLETE)
    assert rig.step() == ["create batch.1 new -> complete", "update new1 new -> shutdown"]
    rig.report("new2", api.COMPLETE)
    assert rig.step() == []
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids()), None
    assert rig.step() == []


def test_with_a_delay_the_next_try_gets_ready_and_then_is_to_complete() -> None:
    rig = bench(batch(1, 1, change=lambda spec: spec.task.restart.delay.CopyFrom(duration(3))))
    rig.step()
    rig.report("new1", api.FAILED)
    assert rig.step() == ["update new1 failed -> shutdown", "create batch.0 new -> ready"]
    assert rig.step(NOW + 3) == ["update new2 new -> complete"]


def test_an_update_begins_all_anew_and_ends_what_still_runs() -> None:
    """Known fault 65: a job that ran again kept the tasks of its former run.

    moby/swarmkit#2925: a job run again kept the tasks of its former run.
    """
    rig = bench(batch(3, 2))
    rig.step()
    rig.report("new1", api.COMPLETE)
    rig.step()
    rig.change(batch(3, 2, iteration=1))
    assert rig.step() == [
        "update new2 new -> remove",
        "update new3 new -> remove",
        "create batch.0 new -> complete",
        "create batch.1 new -> complete",
    ]
    again = rig.memory.tasks.get("new4")
    assert again is not None
    assert again.job_iteration.index == 1
    rig.report("new4", api.COMPLETE)
    rig.report("new5", api.COMPLETE)
    assert rig.step() == ["create batch.2 new -> complete"]


def test_a_completed_task_that_somebody_deleted_is_done_again() -> None:
    rig = bench(batch(1, 1))
    rig.step()
    rig.report("new1", api.COMPLETE)
    rig.step()
    rig.apply(lambda tx: tx.remove(api.Task, "new1"))
    assert rig.step() == ["create batch.0 new -> complete"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    rig = bench(batch(MAX_CHANGES + 2, MAX_CHANGES + 2))
    assert len(rig.step()) == MAX_CHANGES
    assert rig.look_again_at == NOW
    assert len(rig.step()) == 2
    assert rig.step() == []


def test_a_completion_costs_one_slot() -> None:
    rig = bench(batch(200, 100))
    rig.step()
    rig.step()
    rig.report("new7", api.COMPLETE)
    asked: list[tuple[str, object]] = []
    find = rig.memory.tasks.find
    table = rig.memory.tasks

    class Counting:
        """The table, which counts the calls."""

        def __getattr__(self, name: str) -> object:
            return getattr(table, name)

        def find(self, index: str, key: object) -> list[api.Task]:
            asked.append((index, key))
            return find(index, key)

    rig.memory.tasks = Counting()  # type: ignore[assignment]
    plan = rig.decider.decide(rig.memory, NOW, rig.events)
    assert len(plan.changes) == 1
    assert set(asked) == {("slot", ("batch", 6))}


def test_a_tally_gives_the_lowest_free_slot() -> None:
    tally = Tally()
    spec = api.ReplicatedJob(max_concurrent=2, total_completions=3)
    tally.note(1, Progress.COMPLETED)
    assert tally.may_begin(spec) == 2
    assert [tally.begin(), tally.begin()] == [Place(0), Place(2)]
    assert (tally.may_begin(spec), tally.at_work) == (0, 2)
    tally.note(0, None)
    assert (tally.may_begin(spec), tally.at_work) == (1, 1)
    assert tally.begin() == Place(0)
    tally.note(2, Progress.GIVEN_UP)
    assert tally.may_begin(spec) == 0
