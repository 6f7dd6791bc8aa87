from pathlib import Path
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.cli import stack_waiting
from shoal.cli.stack_ends import Ends
from shoal.cli.stack_waiting import STABLE, Rest, Verdict, rest, shower, verdict
from tests.unit.cli.daemons import daemon
from tests.unit.cli.stacks import shoal, write
from tests.unit.engine.fakes import manager_node


def service(running: int, desired: int, state: str = "", message: str = "", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"Spec": {"Mode": {"Replicated": {}}}, **more}
    found["ServiceStatus"] = {"RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": more.get("done", 0)}
    return found | ({"UpdateStatus": {"State": state, "Message": message}} if state else {})


ROLLED_BACK = "it was rolled back: rollback_completed"
JOB = {"Mode": {"ReplicatedJob": {"TotalCompletions": 2}}}


@pytest.mark.parametrize(
    ("found", "well_for", "wanted"),
    [
        (service(1, 2), 0.0, Verdict("1/2 running")),
        (service(2, 2), 0.0, Verdict("2/2 running")),
        (service(2, 2), STABLE, Verdict("2/2 running", done=True)),
        (service(0, 0), 0.0, Verdict("0/0 running", done=True)),
        (service(0, 0, Spec={"Mode": {"Global": {}}}), 0.0, Verdict("0/0 running")),
        (service(2, 2, "updating"), STABLE, Verdict("2/2 running, updating")),
        (service(2, 2, "completed"), 0.0, Verdict("2/2 running", done=True)),
        (service(2, 2, "rollback_started", "why"), 9.0, Verdict("rollback started", failed="it was rolled back: why")),
        (service(2, 2, "rollback_completed"), 9.0, Verdict("rollback completed", failed=ROLLED_BACK)),
        (service(1, 2, "paused", "why"), 0.0, Verdict("paused", failed="the update was paused: why")),
        (service(0, 0, Spec=JOB, done=1), 9.0, Verdict("1/2 completed")),
        (service(0, 0, Spec=JOB, done=2), 0.0, Verdict("2/2 completed", done=True)),
    ],
)
def test_how_far_a_service_is(found: dict[str, Any], well_for: float, wanted: Verdict) -> None:
    assert verdict(found, None, well_for) == wanted


GLOBAL: dict[str, Any] = {"Mode": {"Global": {}}}
GLOBAL_JOB: dict[str, Any] = {"Mode": {"GlobalJob": {}}}
GAVE_UP = "1 of 2 tasks failed and are not started again: why"


@pytest.mark.parametrize(
    ("found", "of", "held_for", "wanted"),
    [
        (service(0, 1), Ends(1), STABLE, Verdict("0/1 running, 1 completed", done=True)),
        (service(0, 1), Ends(1), 0.0, Verdict("0/1 running, 1 completed")),
        (service(0, 1, "updating"), Ends(1), STABLE, Verdict("0/1 running, 1 completed, updating")),
        (service(0, 1, "completed"), Ends(1), 0.0, Verdict("0/1 running, 1 completed", done=True)),
        (service(1, 2), Ends(1, 0, 1), STABLE, Verdict("1/2 running, 1 completed", done=True)),
        (service(1, 2), Ends(0, 1, 1, "why"), STABLE, Verdict("1/2 running", failed=GAVE_UP)),
        (service(1, 2), Ends(0, 1, 1, "why"), 0.0, Verdict("1/2 running")),
        (service(0, 2), Ends(0, 1, 1, "why"), STABLE, Verdict("0/2 running")),
        # The places that count may be of slots that were scaled away.
        (service(0, 1), Ends(1, 0, 1), STABLE, Verdict("0/1 running, 1 completed")),
        (service(0, 1), Ends(0, 1, 1, "why"), STABLE, Verdict("0/1 running")),
        (service(1, 2, Spec=JOB, done=1), Ends(1, 1, 1, "why"), STABLE, Verdict("1/2 completed")),
        (service(0, 0, Spec=GLOBAL), Ends(2), 0.0, Verdict("0/2 running, 2 completed")),
        (service(0, 0, Spec=GLOBAL), Ends(1, 1, 0, "why"), STABLE, Verdict("0/2 running, 1 completed", failed=GAVE_UP)),
        (service(0, 1, Spec=JOB, done=1), Ends(1, 1, 0, "why"), STABLE, Verdict("1/2 completed", failed=GAVE_UP)),
        (service(0, 1, Spec=JOB, done=1), Ends(1, 1, 0, "why"), 0.0, Verdict("1/2 completed")),
        (service(0, 1, Spec=JOB), Ends(0, 1, 0, "why"), STABLE, Verdict("0/2 completed")),
        (service(1, 1, Spec=GLOBAL_JOB, done=2), Ends(2, 0, 1), STABLE, Verdict("2/3 completed")),
        (service(0, 0, Spec=GLOBAL_JOB, done=2), Ends(2), 0.0, Verdict("2/2 completed", done=True)),
        (service(0, 0, Spec=GLOBAL_JOB), Ends(), STABLE, Verdict("0/1 completed")),
        (
            service(0, 0, Spec=GLOBAL_JOB, done=1),
            Ends(1, 1, 0, "why"),
            STABLE,
            Verdict("1/2 completed", failed=GAVE_UP),
        ),
    ],
)
def test_tasks_that_are_not_started_again_count(
    found: dict[str, Any], of: Ends, held_for: float, wanted: Verdict
) -> None:
    assert verdict(found, of, held_for) == wanted


def test_a_service_is_well_with_all_its_tasks() -> None:
    assert [rest(service(1, 2), None), rest(service(2, 2), None)] == [Rest.MOVING, Rest.WELL]
    assert rest(service(1, 2), Ends(0, 1, 1)) is Rest.SETTLED


def test_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show = shower(quiet=False)
    for rows in ([("a", "0/1")], [("a", "0/1"), ("b", "x")], [("a", "1/1"), ("b", "x")]):
        show(rows)
    assert capsys.readouterr().err == "a: 0/1\nb: x\na: 1/1\n"
    shower(quiet=True)([("a", "x")])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("state", "code"), [(api.COMPLETE, 0), (api.FAILED, 1)])
def test_a_deploy_of_a_task_that_is_to_run_once_ends(
    state: api.TaskState, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, c_yaml="services: {w: {image: a, deploy: {restart_policy: {condition: none}}}}")
    flags = ("deploy", "--resolve-image=never", "-c", str(tmp_path / "c.yaml"), "s")
    ingress = api.NetworkSpec(annotations=api.Annotations(name="ingress"), ingress=True)
    node, store = manager_node(api.Node(id="m1"), api.Network(id="ingress", spec=ingress))
    monkeypatch.setattr(stack_waiting, "STABLE", 0.0)
    with daemon(tmp_path, node) as url:
        assert shoal(url, *flags[:1], "-d", *flags[1:]) == 0
    (made,) = store.view().table(api.Service).all()
    ended = api.Task(id="t1", service_id=made.id, slot=1, spec=made.spec.task, desired_state=api.SHUTDOWN)
    ended.service_annotations.CopyFrom(made.spec.annotations)
    ended.status.CopyFrom(api.TaskStatus(state=state, err="task: non-zero exit (3)" if code else ""))
    there = [each for table in (api.Node, api.Network, api.Service) for each in store.view().table(table).all()]
    node, _ = manager_node(*there, ended)
    with daemon(tmp_path, node) as url:
        assert shoal(url, *flags) == code
    said = capsys.readouterr().err
    assert ("shoal: s_w: 1 of 1 tasks failed and are not started again: task: non-zero exit (3)" in said) == bool(code)
