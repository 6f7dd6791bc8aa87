"""What is true in every mode of a spec: tasks are made and removed, restarted and forgotten."""

import random
from itertools import pairwise

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.reaper import Reaper
from tests.unit.manager.builders import NOW, Bench, Ids, cluster, decide, node, service, task, told

MODES = [field.name for field in api.ServiceSpec.DESCRIPTOR.oneofs_by_name["mode"].fields]
ANY, ON_FAILURE, NONE = api.RestartPolicy.ANY, api.RestartPolicy.ON_FAILURE, api.RestartPolicy.NONE

every_mode = pytest.mark.parametrize("mode", MODES)


def of_mode(
    mode: str, policy: api.RestartPolicy | None = None, condition: api.RestartPolicy.RestartCondition = ANY
) -> api.Service:
    """Return a service of a mode with one task, which is restarted at once unless `policy` says otherwise."""

    def change(made: api.Service) -> None:
        getattr(made.spec, mode).SetInParent()
        if mode == "replicated":
            made.spec.replicated.replicas = 1
        if mode == "replicated_job":
            made.spec.replicated_job.total_completions = made.spec.replicated_job.max_concurrent = 1
        if mode.endswith("job"):
            made.job_status.SetInParent()
        made.spec.task.restart.delay.CopyFrom(duration(0))
        if policy:
            made.spec.task.restart.MergeFrom(policy)
        made.spec.task.restart.condition = condition

    return service(change=change)


def begun(
    mode: str, policy: api.RestartPolicy | None = None, condition: api.RestartPolicy.RestartCondition = ANY
) -> Bench:
    """Return a service whose only task, new1, exists."""
    rig = Bench(Orchestrator(random.Random(1), Ids()), [node("a"), of_mode(mode, policy, condition)])
    rig.step()
    return rig


def end(rig: Bench, number: int, state: api.TaskState) -> list[str]:
    """Let the task with a number end. Returns what is made because of that."""
    rig.report(f"new{number}", state)
    return [line for line in rig.step() if line.startswith("create")]


def goal(mode: str) -> str:
    return "complete" if mode.endswith("job") else "running"


@every_mode
def test_a_service_gets_its_task_and_loses_it(mode: str) -> None:
    rig = Bench(Orchestrator(random.Random(1), Ids()), [node("a"), of_mode(mode)])
    (made,) = rig.step()
    slot = 1 if mode == "replicated" else 0
    where = " on a" if mode.startswith("global") else ""
    assert made == f"create web.{slot}{where} new -> {goal(mode)}"
    assert rig.step() == []
    rig.apply(lambda tx: tx.remove(api.Service, "web"))
    assert rig.step() == [f"update new1{where} new -> remove"]


@every_mode
@pytest.mark.parametrize(
    ("condition", "state", "again"),
    [
        (ANY, api.FAILED, True),
        (ANY, api.REJECTED, True),
        (ON_FAILURE, api.FAILED, True),
        (ON_FAILURE, api.COMPLETE, False),
        (NONE, api.FAILED, False),
        (NONE, api.COMPLETE, False),
    ],
)
def test_the_condition_decides(
    mode: str, condition: api.RestartPolicy.RestartCondition, state: api.TaskState, again: bool
) -> None:
    rig = begun(mode, condition=condition)
    assert len(end(rig, 1, state)) == again


@every_mode
def test_success_is_repeated_with_any_but_for_jobs(mode: str) -> None:
    """SwarmKit treats `any` of a job as `on-failure`: a finished task is not repeated."""
    assert len(end(begun(mode), 1, api.COMPLETE)) == (0 if mode.endswith("job") else 1)


@every_mode
def test_a_delay_is_waited_out(mode: str) -> None:
    rig = begun(mode, api.RestartPolicy(delay=duration(3)))
    (made,) = end(rig, 1, api.FAILED)
    assert made.endswith("new -> ready")
    assert rig.look_again_at == NOW + 3
    assert rig.step(NOW + 2.9) == []
    (started,) = rig.step(NOW + 3)
    assert started.endswith(f"new -> {goal(mode)}")


@every_mode
def test_attempts_run_out_and_the_place_stays_with_what_failed(mode: str) -> None:
    rig = begun(mode, api.RestartPolicy(max_attempts=2))
    for number, again in ((1, True), (2, True), (3, False)):
        rig.now += 10
        assert len(end(rig, number, api.FAILED)) == again
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids()), None
    assert rig.step(NOW + 1000) == []


@every_mode
def test_a_window_forgets_attempts(mode: str) -> None:
    rig = begun(mode, api.RestartPolicy(max_attempts=1, window=duration(60)))
    rig.now += 10
    assert len(end(rig, 1, api.FAILED)) == 1
    rig.now += 100
    assert len(end(rig, 2, api.FAILED)) == 1
    rig.now += 10
    assert end(rig, 3, api.FAILED) == []


@every_mode
def test_what_cannot_even_be_prepared_is_tried_ever_more_slowly(mode: str) -> None:
    rig = begun(mode, api.RestartPolicy(delay=duration(1)))
    waits: list[float] = []
    for number in range(1, 9):
        assert len(end(rig, number, api.REJECTED)) == 1
        assert rig.look_again_at is not None
        waits.append(rig.look_again_at - rig.now)
        rig.step(rig.look_again_at)
    assert waits[0] == 1.0
    assert all(later > sooner for sooner, later in pairwise(waits[:6]))
    assert 48 <= waits[-1] <= 60


@every_mode
def test_a_changed_spec_counts_attempts_anew(mode: str) -> None:
    """Known fault 63: restarts of the former version counted against the new one."""
    rig = begun(mode, api.RestartPolicy(max_attempts=1))
    rig.now += 10
    end(rig, 1, api.FAILED)
    rig.now += 10
    assert end(rig, 2, api.FAILED) == []
    changed = of_mode(mode, api.RestartPolicy(max_attempts=1))
    changed.spec.task.container.image = "other"
    changed.spec_version.index = 9
    changed.job_status.job_iteration.index += mode.endswith("job")
    rig.change(changed)
    assert sum(line.startswith("create") for line in rig.step(NOW + 50)) == 1
    rig.now += 10
    assert len(end(rig, 3, api.FAILED)) == 1


@every_mode
@pytest.mark.parametrize(("limit", "kept"), [(0, 1), (2, 2), (5, 4), (-1, 4)])
def test_history_is_kept_to_its_limit_in_each_place(mode: str, limit: int, kept: int) -> None:
    made = of_mode(mode)
    slot = 1 if mode == "replicated" else 0
    meant = api.COMPLETE if mode.endswith("job") else api.RUNNING
    tasks = [
        task(f"web.{slot}.{age}", api.FAILED, api.SHUTDOWN, node="a", of=made, reported_at=NOW - age)
        for age in (3, 2, 1)
    ]
    live = task(f"web.{slot}", api.RUNNING, meant, node="a", of=made)
    gone = told(decide(Reaper(), [cluster(limit), node("a"), made, live, *tasks]))
    assert gone == [f"remove web.{slot}.{age}" for age in (3, 2, 1)][: 4 - kept]


@pytest.mark.parametrize("mode", ["replicated_job", "global_job"])
def test_what_a_job_has_done_is_not_history(mode: str) -> None:
    made = of_mode(mode)
    done = task("web.0", api.COMPLETE, api.COMPLETE, node="a", of=made, reported_at=NOW - 5)
    failed = task("web.0.x", api.FAILED, api.SHUTDOWN, node="a", of=made, reported_at=NOW - 9)
    assert told(decide(Reaper(), [cluster(0), node("a"), made, done, failed])) == ["remove web.0.x"]
