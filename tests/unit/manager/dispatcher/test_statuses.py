"""What a report changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.errors import PermissionDenied
from shoal.manager.dispatcher.statuses import accepted, apply_report

Update = api.UpdateTaskStatusRequest.TaskStatusUpdate
NOW = timestamp(7.0)
states = st.sampled_from(sorted(api.TaskState.values()))


def test_reports_about_nothing_are_skipped_and_about_others_tasks_refused() -> None:
    tasks = {"t1": api.Task(id="t1", node_id="n1"), "t2": api.Task(id="t2", node_id="n2")}
    good = Update(task_id="t1", status=api.TaskStatus(state=api.RUNNING))
    assert accepted([good, Update(task_id="t1"), Update(task_id="t9", status={})], "n1", tasks.get) == [good]
    with pytest.raises(PermissionDenied, match=r"^cannot update a task not assigned this node$"):
        accepted([good, Update(task_id="t2", status={})], "n1", tasks.get)


@given(states, states)
def test_a_state_never_goes_back(known: api.TaskState, reported: api.TaskState) -> None:
    changed = apply_report(api.Task(status={"state": known}), api.TaskStatus(state=reported), "m1", NOW)
    assert (changed is not None) == (reported > known)


def test_what_was_applied_says_by_whom_and_when() -> None:
    report = api.TaskStatus(state=api.RUNNING, message="started", applied_by="liar")
    changed = apply_report(api.Task(id="t1", status={"state": api.READY}), report, "m1", NOW)
    expected = api.TaskStatus(state=api.RUNNING, message="started", applied_by="m1", applied_at=NOW)
    assert changed == api.Task(id="t1", status=expected)


def test_saying_the_same_again_changes_nothing_but_news_in_the_same_state_does() -> None:
    first = api.TaskStatus(state=api.RUNNING, message="started")
    task = apply_report(api.Task(id="t1"), first, "m1", NOW)
    assert task is not None
    again = api.TaskStatus(state=api.RUNNING, message="started", timestamp=timestamp(99.0))
    assert apply_report(task, again, "m2", timestamp(100.0)) is None
    again.container.pid = 5
    assert apply_report(task, again, "m2", timestamp(100.0)) is not None
