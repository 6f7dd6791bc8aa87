"""Whether and when an ended task is replaced."""

import random

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.marks import Marks
from tests.unit.manager.builders import NOW, node, task

ANY, ON_FAILURE, NONE = api.RestartPolicy.ANY, api.RestartPolicy.ON_FAILURE, api.RestartPolicy.NONE


def ended(
    name: str = "web.1",
    state: api.TaskState = api.FAILED,
    *,
    condition: api.RestartPolicy.RestartCondition = ANY,
    attempts: int = 0,
    window: float = 0.0,
    created_at: float = NOW - 100,
    reported_at: float = NOW,
    marks: Marks | None = None,
) -> api.Task:
    made = task(name, state, created_at=created_at, reported_at=reported_at, marks=marks)
    made.spec.restart.condition = condition
    made.spec.restart.max_attempts = attempts
    made.spec.restart.window.CopyFrom(duration(window))
    return made


@pytest.mark.parametrize(
    ("condition", "state", "wanted"),
    [
        (ANY, api.FAILED, True),
        (ANY, api.COMPLETE, True),
        (ON_FAILURE, api.FAILED, True),
        (ON_FAILURE, api.REJECTED, True),
        (ON_FAILURE, api.RUNNING, True),  # its node was lost
        (ON_FAILURE, api.COMPLETE, False),
        (NONE, api.FAILED, False),
    ],
)
def test_the_condition_decides(
    condition: api.RestartPolicy.RestartCondition, state: api.TaskState, wanted: bool
) -> None:
    subject = ended(state=state, condition=condition)
    assert restart.is_wanted(subject, [subject]) is wanted


def test_without_a_policy_everything_is_restarted_after_five_seconds() -> None:
    subject = task("web.1", api.COMPLETE)
    assert restart.is_wanted(subject, [subject])
    assert restart.delay_of(subject) == 5.0


def test_attempts_count_the_restarts_of_this_spec_version() -> None:
    tasks = [ended(f"web.1.{number}", attempts=2, created_at=NOW - 10 + number) for number in range(3)]
    assert restart.is_wanted(tasks[1], tasks[:2])
    assert not restart.is_wanted(tasks[2], tasks)
    for old in tasks[:2]:
        old.spec_version.index = 0
    assert restart.is_wanted(tasks[2], tasks)


def test_a_window_forgets_older_restarts() -> None:
    tasks = [ended(f"web.1.{n}", attempts=2, window=5, created_at=NOW - 10 * (3 - n)) for n in range(4)]
    tasks[3].meta.created_at.seconds = int(NOW) - 1
    assert restart.is_wanted(tasks[3], tasks)
    near = [ended(f"web.1.{n}", attempts=2, window=5, created_at=NOW - 4 + n) for n in range(3)]
    assert not restart.is_wanted(near[2], near)


def test_a_drained_node_does_not_delay() -> None:
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rng = random.Random(1)
    assert restart.delay_before(ended(state=api.RUNNING), drained, 0, rng) == 0.0


def test_a_node_that_is_down_delays_only_where_the_policy_names_a_delay() -> None:
    rng = random.Random(1)
    down, lost = node("a", api.NodeStatus.DOWN), ended(state=api.RUNNING)
    assert restart.delay_before(lost, down, 0, rng) == 0.0
    assert restart.delay_before(lost, node("a"), 0, rng) == 5.0
    lost.spec.restart.delay.seconds = 7
    assert restart.delay_before(lost, down, 0, rng) == 7.0


def test_useless_tasks_are_counted_until_one_is_of_use() -> None:
    before = Marks(failures=4)
    assert restart.failures_in_a_row(ended(state=api.REJECTED, marks=before)) == 5
    assert restart.failures_in_a_row(ended(state=api.FAILED, created_at=NOW - 1, marks=before)) == 5
    assert restart.failures_in_a_row(ended(state=api.FAILED, created_at=NOW - 60, marks=before)) == 0
    assert restart.failures_in_a_row(ended(state=api.COMPLETE, created_at=NOW - 1, marks=before)) == 0
    waited = Marks(failures=4, start_at=NOW - 1)
    assert restart.failures_in_a_row(ended(state=api.FAILED, created_at=NOW - 60, marks=waited)) == 5


def test_back_off_grows_to_a_minute_above_the_configured_delay() -> None:
    rng = random.Random(1)
    rejected = ended(state=api.REJECTED)
    delays = [restart.delay_before(rejected, None, failures, rng) for failures in range(1, 12)]
    assert delays[0] == 5.0
    for delay, full in zip(delays[1:], (10, 20, 40, 60, 60, 60, 60, 60, 60, 60), strict=True):
        assert 0.8 * full <= delay <= full


def test_a_crash_or_two_at_the_start_do_not_slow_a_restart() -> None:
    rng = random.Random(1)
    failed = ended(state=api.FAILED)
    failed.spec.restart.delay.CopyFrom(duration(0))
    assert [restart.delay_before(failed, None, failures, rng) for failures in (1, 2, 3)] == [0, 0, 0]
    assert 0.16 <= restart.delay_before(failed, None, 4, rng) <= 0.2
    assert 48 <= restart.delay_before(failed, None, 40, rng) <= 60


def test_a_long_configured_delay_is_the_floor() -> None:
    rejected = ended(state=api.REJECTED)
    rejected.spec.restart.delay.CopyFrom(duration(300))
    assert restart.delay_before(rejected, None, 9, random.Random(1)) == 300


def test_a_replacement_waits_for_the_old_task_but_a_minute_at_most() -> None:
    new = task("web.1.new", api.READY, api.READY, created_at=NOW)
    old = task("web.1", api.RUNNING, api.SHUTDOWN, node="a")
    marks = Marks(replaces="web.1", start_at=NOW + 2)
    assert restart.start_time(new, marks, old, node("a"), NOW) == NOW + 2
    assert restart.start_time(new, marks, old, node("a"), NOW + 2) == NOW + 60
    for stopped, place in (
        (None, None),
        (task("web.1", api.SHUTDOWN, api.SHUTDOWN, node="a"), node("a")),
        (task("web.1", api.PENDING, api.SHUTDOWN), None),
        (old, node("a", api.NodeStatus.DOWN)),
        (old, None),
    ):
        assert restart.start_time(new, marks, stopped, place, NOW + 2) == NOW + 2
