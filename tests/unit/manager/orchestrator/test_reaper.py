"""Which tasks are forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.orchestrator.reaper import Reaper
from shoal.store.changes import Object, copy
from tests.unit.manager.builders import NOW, Bench, cluster, decide, node, service, task, told


def history(count: int, slot: int = 1) -> list[api.Task]:
    """Return `count` ended tasks of a slot, oldest first, and one that runs."""
    ended = [
        task(f"web.{slot}.{number}", api.FAILED, api.SHUTDOWN, reported_at=NOW - 100 + number)
        for number in range(count)
    ]
    return [*ended, task(f"web.{slot}")]


def test_the_oldest_tasks_of_a_slot_go_and_the_live_one_counts() -> None:
    objects: list[Object] = [cluster(3), service(), *history(5)]
    assert told(decide(Reaper(), objects)) == ["remove web.1.0", "remove web.1.1", "remove web.1.2"]


def test_max_attempts_keep_the_history_that_restarts_are_counted_in() -> None:
    def attempts(made: api.Service) -> None:
        made.spec.task.restart.max_attempts = 4
        made.spec.task.restart.delay.CopyFrom(duration(0))

    assert told(decide(Reaper(), [cluster(1), service(change=attempts), *history(5)])) == ["remove web.1.0"]


def test_a_negative_limit_keeps_everything_and_zero_only_what_lives() -> None:
    assert told(decide(Reaper(), [cluster(-1), service(), *history(9)])) == []
    assert len(told(decide(Reaper(), [cluster(0), service(), *history(3)]))) == 3


def test_a_task_whose_restart_is_not_decided_stays() -> None:
    undecided = task("web.1", api.FAILED, api.RUNNING)
    assert told(decide(Reaper(), [cluster(0), service(), undecided])) == []


def test_tasks_to_remove_go_when_nothing_of_them_runs() -> None:
    tasks = [
        task("web.1", api.PENDING, api.REMOVE),
        task("web.2", api.RUNNING, api.REMOVE),
        task("web.3", api.SHUTDOWN, api.REMOVE),
    ]
    bench = Bench(Reaper(), [cluster(), service(), *tasks])
    assert sorted(bench.step()) == ["remove web.1", "remove web.3"]
    bench.report("web.2", api.SHUTDOWN)
    assert bench.step() == ["remove web.2"]


def _step(bench: Bench, what: str, name: str) -> None:
    there = bench.memory.tasks.get(name)
    if what == "decide":
        bench.step()
    elif what == "create" and there is None:
        bench.change(task(name, api.ASSIGNED, node="a"))
    elif there is not None and there.status.state <= api.RUNNING:
        if what in ("run", "fail"):
            bench.report(name, api.RUNNING if what == "run" else api.FAILED)
        else:
            stopped = copy(there)
            stopped.desired_state = max(there.desired_state, api.REMOVE if what == "remove" else api.SHUTDOWN)
            if what == "end":
                stopped.status.state = api.SHUTDOWN
            bench.change(stopped)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["create", "run", "fail", "stop", "end", "remove", "decide"]),
            st.integers(1, 2),
            st.integers(1, 2),
        ),
        max_size=40,
    ),
    st.integers(0, 2),
)
def test_what_it_keeps_after_any_changes_is_what_a_new_one_keeps(todo: list[tuple[str, int, int]], limit: int) -> None:
    bench = Bench(Reaper(), [cluster(limit), service(replicas=2), node("a")])
    bench.step()
    for what, slot, number in todo:
        _step(bench, what, f"web.{slot}.{number}")
    bench.step()
    assert told(Reaper().decide(bench.memory, bench.now, None)) == []


def test_orphans_without_a_service_go_at_once() -> None:
    orphan = task("web.1", api.ORPHANED)
    orphan.service_id = ""
    assert told(decide(Reaper(), [cluster(), orphan])) == ["remove web.1"]


def test_history_is_per_node_for_a_global_service() -> None:
    made = service()
    getattr(made.spec, "global").SetInParent()
    tasks = [
        task(f"web.0.{place}{number}", api.FAILED, api.SHUTDOWN, node=place, reported_at=NOW + number)
        for place in "ab"
        for number in range(3)
    ]
    assert sorted(told(decide(Reaper(), [cluster(2), made, *tasks]))) == ["remove web.0.a0", "remove web.0.b0"]


def test_a_lower_limit_is_applied_to_all_slots() -> None:
    bench = Bench(Reaper(), [cluster(5), service(replicas=2), *history(4), *history(4, slot=2)])
    assert bench.step() == []
    bench.change(cluster(4))
    assert sorted(bench.step()) == ["remove web.1.0", "remove web.2.0"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    bench = Bench(Reaper(), [task(f"web.{slot}", api.PENDING, api.REMOVE) for slot in range(1, MAX_CHANGES + 2)])
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert len(bench.step()) == 1
    assert bench.step() == []
