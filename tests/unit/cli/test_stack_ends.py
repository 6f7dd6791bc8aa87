from typing import Any

import pytest

from shoal.cli.stack_ends import Ends, ends, may_end


def service(mode: str = "Replicated", condition: str = "none", run: int = 0) -> dict[str, Any]:
    spec = {"Mode": {mode: {}}, "TaskTemplate": {"RestartPolicy": {"Condition": condition}}}
    return {"ID": "s", "Spec": spec, "JobStatus": {"JobIteration": {"Index": run}}}


def task(slot: int, state: str, at: int, desired: str = "shutdown", **more: Any) -> dict[str, Any]:
    status = {"State": state, "Err": more.pop("err", "")}
    place = {"Slot": slot} if slot else {}
    made = {"ServiceID": "s", "CreatedAt": f"2026-01-01T00:00:{at:02}.5Z", "DesiredState": desired, "Status": status}
    return {**made, **place, **more}


@pytest.mark.parametrize(
    ("mode", "condition", "wanted"),
    [
        ("Replicated", "any", False),
        ("Replicated", "", False),
        ("Replicated", "none", True),
        ("Global", "on-failure", True),
        ("ReplicatedJob", "any", True),
        ("GlobalJob", "", True),
    ],
)
def test_which_tasks_may_end_for_good(mode: str, condition: str, wanted: bool) -> None:
    assert may_end(service(mode, condition)) == wanted
    assert not may_end({})


def test_the_newest_task_of_a_slot_counts() -> None:
    tasks = [
        task(1, "complete", 9),
        task(1, "failed", 1, err="old"),
        task(2, "failed", 2, err="task: non-zero exit (1)"),
        task(3, "failed", 3, desired="running"),  # nobody has decided yet whether it is started again
        task(4, "running", 4, desired="running"),
        task(5, "complete", 5, desired="remove"),
        task(6, "complete", 6, ServiceID="other"),
    ]
    assert ends(service(), tasks) == Ends(1, 1, 2, "task: non-zero exit (1)")


def test_of_global_services_each_node_is_a_place() -> None:
    tasks = [task(0, "complete", 1, NodeID="a"), task(0, "rejected", 2, NodeID="b")]
    assert ends(service("Global"), tasks) == Ends(1, 1, 0, "rejected")
    assert ends(service("Replicated"), tasks) == Ends(0, 1, 0, "rejected")  # both are of slot 0, as jobs have it


def test_a_node_that_was_drained_is_no_failure_of_a_global_service() -> None:
    tasks = [task(0, "shutdown", 1, NodeID="a"), task(0, "running", 2, desired="running", NodeID="b")]
    assert ends(service("Global"), tasks) == Ends(0, 0, 1)
    assert ends(service(), [task(1, "shutdown", 1)]) == Ends(0, 1, 0, "shutdown")


def test_of_a_job_the_present_run_counts() -> None:
    tasks = [task(0, "complete", 1), task(1, "failed", 2, JobIteration={"Index": 1})]
    assert ends(service("ReplicatedJob", run=1), tasks) == Ends(0, 1, 0, "failed")
    assert ends(service("ReplicatedJob"), tasks) == Ends(1, 0, 0)
