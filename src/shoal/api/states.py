"""Task states: their order, and who may make which move.

States only grow. Source: SwarmKit api/types.proto (`TaskState`), design/task_model.md.
"""

from shoal.api import v1 as api
from shoal.errors import InvariantBroken

NEVER_RAN_OR_ENDED = frozenset({api.COMPLETE, api.SHUTDOWN, api.FAILED, api.REJECTED, api.ORPHANED})
NAMES = {value: name.lower() for name, value in api.TaskState.items()}

ALLOCATOR, SCHEDULER, AGENT, MANAGER = "allocator", "scheduler", "agent", "manager"

# The one part that may move a task out of a state; ORPHANED is the manager's from anywhere that is not an end.
LEAVES = {
    api.NEW: ALLOCATOR,
    api.PENDING: SCHEDULER,
    api.ASSIGNED: AGENT,
    api.ACCEPTED: AGENT,
    api.PREPARING: AGENT,
    api.READY: AGENT,
    api.STARTING: AGENT,
    api.RUNNING: AGENT,
}

_ON_A_NODE = (api.ASSIGNED, api.ACCEPTED, api.PREPARING, api.READY, api.STARTING, api.RUNNING)
_AGENT_REPORTS = (*_ON_A_NODE[1:], api.COMPLETE, api.SHUTDOWN, api.FAILED, api.REJECTED)


def _moves() -> dict[tuple[api.TaskState, api.TaskState], frozenset[str]]:
    moves: dict[tuple[api.TaskState, api.TaskState], set[str]] = {
        (api.NEW, api.PENDING): {ALLOCATOR},
        (api.PENDING, api.ASSIGNED): {SCHEDULER},
        # Told to stop before it had a node: nobody else would ever end it.
        (api.PENDING, api.SHUTDOWN): {SCHEDULER},
    }
    for before in _ON_A_NODE:
        for after in _AGENT_REPORTS:
            # Reports of one task may be merged on the way, so an agent may be seen to skip states.
            if after > before:
                moves.setdefault((before, after), set()).add(AGENT)
        moves.setdefault((before, api.REJECTED), set()).add(MANAGER)  # the constraint enforcer
        moves.setdefault((before, api.ORPHANED), set()).add(MANAGER)
    return {move: frozenset(owners) for move, owners in moves.items()}


# Every move there is, and the parts that may make it. `REMOVE` is a desired state only, never an observed one.
MOVES = _moves()


def check_move(before: api.TaskState, after: api.TaskState, owner: str) -> None:
    """Raise InvariantBroken unless `owner` may move a task from one observed state to another; staying is no move."""
    if before != after and owner not in MOVES.get((before, after), frozenset()):
        message = f"{owner} may not move a task from {NAMES[before]} to {NAMES[after]}"
        raise InvariantBroken(message)


def is_live(task: api.Task) -> bool:
    """Return whether a task is on its way to running, or runs, and is meant to."""
    return task.status.state <= api.RUNNING and task.desired_state <= api.COMPLETE


def is_dead(task: api.Task) -> bool:
    """Return whether a task has ended, however it ended."""
    return task.status.state > api.RUNNING
