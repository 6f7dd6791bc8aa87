"""The state machine of one task on its node: the next step, and the status after it. Pure.

In: the task's state, its desired state, and how the last operation ended; out: the next step and the new status.
States only grow. The table is SwarmKit's (agent/exec/controller.go, `Do`).
"""

from dataclasses import dataclass
from enum import Enum, auto

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.errors import InvariantBroken

RETRY_AFTER = 1.0  # seconds before a step with a temporary failure is tried again


class Operation(Enum):
    """What a step does with the container. NOTHING only changes the state."""

    NOTHING = auto()
    PREPARE = auto()
    START = auto()
    WAIT = auto()
    STOP = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """An operation, and the state and message of the task once it has succeeded."""

    operation: Operation
    state: api.TaskState
    message: str


# A task in one of these states takes the step whenever its desired state is not lower.
OPERATIONS = {
    api.PREPARING: Step(Operation.PREPARE, api.READY, "prepared"),
    api.STARTING: Step(Operation.START, api.RUNNING, "started"),
    api.RUNNING: Step(Operation.WAIT, api.COMPLETE, "finished"),
}
# These steps are taken only while the desired state is higher. A desired READY keeps a task in READY.
MOVES = {
    api.NEW: Step(Operation.NOTHING, api.ACCEPTED, "accepted"),
    api.PENDING: Step(Operation.NOTHING, api.ACCEPTED, "accepted"),
    api.ASSIGNED: Step(Operation.NOTHING, api.ACCEPTED, "accepted"),
    api.ACCEPTED: Step(Operation.NOTHING, api.PREPARING, "preparing"),
    api.READY: Step(Operation.NOTHING, api.STARTING, "starting"),
}
STOP = Step(Operation.STOP, api.SHUTDOWN, "shutdown")


def next_step(state: api.TaskState, desired: api.TaskState) -> Step | None:
    """Return the next step of a task, or None when nothing is to do until its desired state changes."""
    if desired >= api.SHUTDOWN:
        return None if state >= api.COMPLETE else STOP
    if state > desired:
        return None
    if state in OPERATIONS:
        return OPERATIONS[state]
    if state >= desired:
        return None
    return MOVES.get(state)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a task's container when a step ends."""

    container_id: str = ""
    pid: int = 0
    exit_code: int = 0
    ports: tuple[api.PortConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed. After a `temporary` failure the task keeps its state and the step is tried again."""

    message: str
    exit_code: int = 0
    temporary: bool = False


def accepted(status: api.TaskStatus, error: str, now: float) -> api.TaskStatus:
    """Return the status of a task that was just assigned here. `error` says why it cannot run here, or is empty."""
    changed = _copy(status)
    if error:
        changed.message, changed.err = "resolving controller failed", error
        if status.state < api.STARTING:
            changed.state = api.REJECTED
        elif status.state <= api.RUNNING:
            changed.state = api.FAILED
    elif status.state < api.ACCEPTED:
        changed.state, changed.message, changed.err = api.ACCEPTED, "accepted", ""
    return _stamped(status, changed, now)


def succeeded(status: api.TaskStatus, step: Step, facts: Facts | None, now: float) -> api.TaskStatus:
    """Return the status after a step. Raises InvariantBroken when the step's state is lower than the present one."""
    if step.state < status.state:
        raise InvariantBroken(f"a task cannot go from {status.state} back to {step.state}")
    changed = _copy(status)
    changed.state, changed.message, changed.err = step.state, step.message, ""
    return _stamped(status, _with_facts(changed, facts, 0), now)


def failed(status: api.TaskStatus, failure: Failure, facts: Facts | None, now: float) -> api.TaskStatus:
    """Return the status after a failure: REJECTED before STARTING, else FAILED. The message stays as it was."""
    changed = _copy(status)
    changed.err = failure.message
    if not failure.temporary:
        changed.state = api.REJECTED if status.state < api.STARTING else api.FAILED
    return _stamped(status, _with_facts(changed, facts, failure.exit_code), now)


def noted(status: api.TaskStatus, words: str, now: float) -> api.TaskStatus:
    """Return the status of a task that runs, with what its node has to say of it; empty: nothing any more."""
    changed = _copy(status)
    if status.state == api.RUNNING:
        changed.err = words
    return _stamped(status, changed, now)


def waiting(status: api.TaskStatus, words: str, now: float) -> api.TaskStatus:
    """Return the status of a task that is made or started, with what that waits for; empty: it goes on."""
    changed = _copy(status)
    if status.state in (api.PREPARING, api.STARTING):
        changed.err = words
    return _stamped(status, changed, now)


def merged(known: api.Task, assigned: api.Task) -> api.Task | None:
    """Return the task as now assigned, with the status that this node knows, or None when nothing changed.

    An assignment with a lower desired state is ignored: it comes from a manager that is behind.
    """
    if assigned.desired_state < known.desired_state:
        return None
    before, changed = api.Task(), api.Task()
    before.CopyFrom(known)
    changed.CopyFrom(assigned)
    for each in (before, changed):
        each.ClearField("status")
        each.ClearField("meta")
    if changed == before:
        return None
    changed.status.CopyFrom(known.status)
    changed.meta.CopyFrom(assigned.meta)
    return changed


def _with_facts(status: api.TaskStatus, facts: Facts | None, exit_code: int) -> api.TaskStatus:
    # From STARTING on, each status describes the container. When the container is gone, the last facts stay.
    if status.state < api.STARTING:
        return status
    status.container.SetInParent()
    if facts is not None:
        status.container.container_id = facts.container_id
        status.container.pid = facts.pid
        status.container.exit_code = facts.exit_code
        status.port_status.SetInParent()
        del status.port_status.ports[:]
        status.port_status.ports.extend(facts.ports)
    if exit_code:
        status.container.exit_code = exit_code
    return status


def _stamped(before: api.TaskStatus, after: api.TaskStatus, now: float) -> api.TaskStatus:
    # The timestamp changes only when something else does, so that a repeated report is the same.
    if after != _copy(before) or not before.HasField("timestamp"):
        after.timestamp.CopyFrom(timestamp(now))
    return after


def _copy(status: api.TaskStatus) -> api.TaskStatus:
    changed = api.TaskStatus()
    changed.CopyFrom(status)
    # The manager fills these fields in; a report does not carry them.
    changed.ClearField("applied_by")
    changed.ClearField("applied_at")
    return changed
