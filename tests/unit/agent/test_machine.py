"""The task state machine: its table, and its laws for every pair of states."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.machine import (
    MOVES,
    OPERATIONS,
    STOP,
    Facts,
    Failure,
    Operation,
    Step,
    accepted,
    failed,
    merged,
    next_step,
    noted,
    succeeded,
)
from shoal.api import v1 as api
from shoal.errors import InvariantBroken
from tests.unit.agent.fakes import task

STATES = cast(list[api.TaskState], sorted(api.TaskState.values()))
states = st.sampled_from(STATES)


def status(state: int, message: str = "", err: str = "") -> api.TaskStatus:
    made = api.TaskStatus(state=state, message=message, err=err)  # type: ignore[arg-type]
    made.timestamp.seconds = 1
    return made


def test_only_of_a_task_that_runs_it_is_said_what_it_can_run_without() -> None:
    running = noted(status(api.RUNNING, "started"), "port 80 is another's", 9)
    assert (running.state, running.message, running.err) == (api.RUNNING, "started", "port 80 is another's")
    assert running.timestamp.seconds == 9
    assert noted(running, "", 10).err == ""
    assert noted(running, running.err, 10) == running
    assert noted(status(api.STARTING), "x", 9) == status(api.STARTING)
    assert noted(status(api.FAILED, err="died"), "", 9) == status(api.FAILED, err="died")


def test_a_task_desired_running_takes_every_step_in_order() -> None:
    state, seen = api.ASSIGNED, []
    while (step := next_step(state, api.RUNNING)) is not None:
        seen.append((step.operation.name, api.TaskState.Name(step.state), step.message))
        state = step.state
    assert seen == [
        ("NOTHING", "ACCEPTED", "accepted"),
        ("NOTHING", "PREPARING", "preparing"),
        ("PREPARE", "READY", "prepared"),
        ("NOTHING", "STARTING", "starting"),
        ("START", "RUNNING", "started"),
        ("WAIT", "COMPLETE", "finished"),
    ]


def test_desired_ready_parks_a_task_there() -> None:
    assert next_step(api.READY, api.READY) is None
    assert next_step(api.PREPARING, api.READY) == OPERATIONS[api.PREPARING]


@pytest.mark.parametrize("desired", [api.SHUTDOWN, api.REMOVE])
def test_a_task_desired_away_is_stopped_unless_it_has_ended(desired: api.TaskState) -> None:
    for state in STATES:
        assert next_step(state, desired) == (None if state >= api.COMPLETE else STOP)


@given(states, states)
def test_states_only_grow(state: api.TaskState, desired: api.TaskState) -> None:
    step = next_step(state, desired)
    assert step is None or step.state > state


@given(states, states)
def test_an_ended_task_stays_as_it_is(state: api.TaskState, desired: api.TaskState) -> None:
    if state >= api.COMPLETE:
        assert next_step(state, desired) is None


@given(states)
def test_every_state_comes_to_rest(desired: api.TaskState) -> None:
    for state in STATES:
        steps = 0
        while (step := next_step(state, desired)) is not None:
            state, steps = step.state, steps + 1
        assert steps <= len(MOVES) + len(OPERATIONS)


@given(states)
def test_a_failure_rejects_before_starting_and_fails_from_then_on(state: api.TaskState) -> None:
    after = failed(status(state, "said before"), Failure("broken", exit_code=3), None, 5.0)
    assert after.state == (api.REJECTED if state < api.STARTING else api.FAILED)
    assert (after.message, after.err, after.container.exit_code) == ("said before", "broken", 3)


def test_a_temporary_failure_keeps_the_state_and_tells_why() -> None:
    after = failed(status(api.PREPARING, "preparing"), Failure("busy", temporary=True), None, 5.0)
    assert (after.state, after.message, after.err) == (api.PREPARING, "preparing", "busy")


def test_success_clears_the_error_and_tells_of_the_container_from_starting_on() -> None:
    step = OPERATIONS[api.STARTING]
    after = succeeded(status(api.STARTING, "starting", "busy"), step, Facts("c1", 12), 5.0)
    assert (after.state, after.message, after.err) == (api.RUNNING, "started", "")
    assert (after.container.container_id, after.container.pid, after.timestamp.seconds) == ("c1", 12, 5)
    prepared = succeeded(status(api.PREPARING), OPERATIONS[api.PREPARING], Facts("c1"), 5.0)
    assert not prepared.HasField("container")


def test_a_container_that_is_gone_leaves_what_was_known_of_it() -> None:
    before = status(api.RUNNING)
    before.container.container_id = "c1"
    after = failed(before, Failure("gone"), None, 5.0)
    assert after.container.container_id == "c1"


def test_going_back_is_an_error() -> None:
    with pytest.raises(InvariantBroken):
        succeeded(status(api.RUNNING), Step(Operation.NOTHING, api.READY, "x"), None, 5.0)


def test_the_timestamp_moves_only_with_something_else() -> None:
    before = status(api.ACCEPTED, "accepted")
    before.applied_by = "manager"
    assert accepted(before, "", 9.0).timestamp.seconds == 1
    assert accepted(status(api.ASSIGNED), "", 9.0).timestamp.seconds == 9


@pytest.mark.parametrize(
    ("state", "then"),
    [
        (api.ASSIGNED, api.REJECTED),
        (api.READY, api.REJECTED),
        (api.STARTING, api.FAILED),
        (api.RUNNING, api.FAILED),
        (api.COMPLETE, api.COMPLETE),
    ],
)
def test_a_task_without_a_controller_ends_by_where_it_was(state: api.TaskState, then: api.TaskState) -> None:
    after = accepted(status(state), "no such thing", 9.0)
    assert (after.state, after.message, after.err) == (then, "resolving controller failed", "no such thing")


def test_an_assignment_keeps_the_tasks_own_status_and_never_wants_less() -> None:
    known = task(state=api.RUNNING)
    assert merged(known, task(state=api.ASSIGNED)) is None
    shutdown = merged(known, task(state=api.ASSIGNED, desired=api.SHUTDOWN))
    assert shutdown is not None
    assert (shutdown.status.state, shutdown.desired_state) == (api.RUNNING, api.SHUTDOWN)
    assert merged(shutdown, task()) is None
