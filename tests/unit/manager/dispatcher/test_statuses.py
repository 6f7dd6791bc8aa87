"""What a report changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.api.states import AGENT, MOVES
from shoal.api.times import timestamp
from shoal.errors import InvalidArgument, PermissionDenied
from shoal.manager.dispatcher.statuses import (
    MAX_ID,
    MAX_NAME,
    MAX_PORTS,
    MAX_TEXT,
    MAX_UPDATES,
    accepted,
    apply_report,
    bounded,
)

Update = api.UpdateTaskStatusRequest.TaskStatusUpdate
NOW = timestamp(7.0)
states = st.sampled_from(sorted(api.TaskState.values()))


def test_reports_about_nothing_are_skipped_and_about_others_tasks_refused() -> None:
    tasks = {"t1": api.Task(id="t1", node_id="n1"), "t2": api.Task(id="t2", node_id="n2")}
    good = Update(task_id="t1", status=api.TaskStatus(state=api.RUNNING))
    tasks["t1"].status.state = api.ASSIGNED
    assert accepted([good, Update(task_id="t1"), Update(task_id="t9", status={})], "n1", tasks.get) == ([good], [])
    with pytest.raises(PermissionDenied, match=r"^cannot update a task not assigned this node$"):
        accepted([good, Update(task_id="t2", status={})], "n1", tasks.get)


@given(states, states | st.integers(-(2**31), 2**31 - 1))
def test_a_report_moves_a_task_as_the_table_says_and_else_not_at_all(known: api.TaskState, reported: int) -> None:
    task = api.Task(id="t1", node_id="n1", status={"state": known})
    status = api.TaskStatus(state=reported)  # type: ignore[arg-type]
    changed = apply_report(task, status, "m1", NOW)
    assert (changed is not None) == (AGENT in MOVES.get((known, reported), ()))
    kept, refused = accepted([Update(task_id="t1", status=status)], "n1", {"t1": task}.get)
    assert bool(refused) == (reported > known and AGENT not in MOVES.get((known, reported), ()))
    assert len(kept) + len(refused) == 1


@pytest.mark.parametrize("state", [700, 2_000_000_000, -5, api.REMOVE, api.ORPHANED, api.NEW, api.PENDING])
def test_states_that_no_agent_may_report_are_not_believed(state: int) -> None:
    task = api.Task(id="t1", node_id="n1", status={"state": api.RUNNING})
    assert apply_report(task, api.TaskStatus(state=state, err="x"), "m1", NOW) is None  # type: ignore[arg-type]


def test_a_task_that_no_node_has_yet_is_not_reported_on() -> None:
    task = api.Task(id="t1", status={"state": api.PENDING})
    assert apply_report(task, api.TaskStatus(state=api.PENDING, message="mine"), "m1", NOW) is None


def test_of_many_reports_of_a_task_the_newest_counts_and_too_many_are_refused() -> None:
    task = api.Task(id="t1", node_id="n1", status={"state": api.ASSIGNED})
    told = [Update(task_id="t1", status={"state": state}) for state in (api.READY, api.RUNNING, api.STARTING)]
    assert accepted(told, "n1", {"t1": task}.get) == ([told[1]], [])
    with pytest.raises(InvalidArgument):
        accepted(told[:1] * (MAX_UPDATES + 1), "n1", {"t1": task}.get)


def test_what_is_kept_of_a_status_is_in_bounds_whatever_it_held() -> None:
    status = api.TaskStatus(state=api.FAILED, message="m" * 5000, err="e" * 1_000_000)
    status.timestamp.seconds = 2**60
    status.container.container_id = "c" * 5000
    for number in range(MAX_PORTS + 5):
        status.port_status.ports.add(name="p" * 5000, protocol=99, publish_mode=-7, published_port=number)
    status.MergeFromString(b"\xfa\x7f\xff\x7f" + b"x" * 16383)  # a field of another version
    assert status.ByteSize() > 1_000_000 + 16383
    kept = bounded(status)
    assert not kept.HasField("timestamp")
    assert (len(kept.message), len(kept.err)) == (MAX_TEXT, MAX_TEXT)
    assert len(kept.container.container_id) == MAX_ID
    assert len(kept.port_status.ports) == MAX_PORTS
    assert {(len(port.name), port.protocol, port.publish_mode) for port in kept.port_status.ports} == {(MAX_NAME, 0, 0)}
    assert kept.ByteSize() < 64 * 1024
    assert kept == bounded(kept)


def test_an_instant_that_is_none_is_replaced_by_when_it_was_applied() -> None:
    report = api.TaskStatus(state=api.RUNNING)
    report.timestamp.seconds = 2**60
    changed = apply_report(api.Task(id="t1", status={"state": api.READY}), report, "m1", NOW)
    assert changed is not None
    assert changed.status.timestamp == NOW


def test_what_was_applied_says_by_whom_and_when() -> None:
    report = api.TaskStatus(state=api.RUNNING, message="started", applied_by="liar")
    changed = apply_report(api.Task(id="t1", status={"state": api.READY}), report, "m1", NOW)
    expected = api.TaskStatus(state=api.RUNNING, message="started", applied_by="m1", applied_at=NOW)
    assert changed == api.Task(id="t1", status=expected)


def test_saying_the_same_again_changes_nothing_but_news_in_the_same_state_does() -> None:
    first = api.TaskStatus(state=api.RUNNING, message="started")
    task = apply_report(api.Task(id="t1", status={"state": api.READY}), first, "m1", NOW)
    assert task is not None
    again = api.TaskStatus(state=api.RUNNING, message="started", timestamp=timestamp(99.0))
    assert apply_report(task, again, "m2", timestamp(100.0)) is None
    again.container.pid = 5
    assert apply_report(task, again, "m2", timestamp(100.0)) is not None
