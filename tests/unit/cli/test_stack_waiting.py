from typing import Any

import pytest

from shoal.cli.stack_waiting import STABLE, Verdict, is_well, shower, verdict


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
    assert verdict(found, well_for) == wanted


def test_a_service_is_well_with_all_its_tasks() -> None:
    assert [is_well(service(1, 2)), is_well(service(2, 2))] == [False, True]


def test_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show = shower(quiet=False)
    for rows in ([("a", "0/1")], [("a", "0/1"), ("b", "x")], [("a", "1/1"), ("b", "x")]):
        show(rows)
    assert capsys.readouterr().err == "a: 0/1\nb: x\na: 1/1\n"
    shower(quiet=True)([("a", "x")])
    assert capsys.readouterr().err == ""
