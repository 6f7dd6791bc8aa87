"""Task states: their order, and which part may make which move.

A task's state only moves forward. The table is checked wherever a state is written: for agents' reports
(`manager.dispatcher.statuses`) and for the manager's own decisions (`manager.deciding.cascade`). Source: SwarmKit
api/types.proto (`TaskState`), design/task_model.md.
"""

from shoal.api import v1 as api
from shoal.errors import InvariantBroken

NEVER_RAN_OR_ENDED = frozenset({api.COMPLETE, api.SHUTDOWN, api.FAILED, api.REJECTED, api.ORPHANED})
NAMES: dict[int, str] = {value: name.lower() for name, value in api.TaskState.items()}

ALLOCATOR, SCHEDULER, AGENT, MANAGER = "allocator", "scheduler", "agent", "manager"

# The part that moves a task out of each state. Besides, the manager may reject or orphan any task that is on a node.
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


def _moves() -> dict[tuple[int, int], frozenset[str]]:
    moves: dict[tuple[int, int], set[str]] = {
        (api.NEW, api.PENDING): {ALLOCATOR},
        (api.PENDING, api.ASSIGNED): {SCHEDULER},
        # The task was told to stop before it had a node. No agent knows it, so the scheduler ends it.
        (api.PENDING, api.SHUTDOWN): {SCHEDULER},
    }
    for before in _ON_A_NODE:
        for after in _AGENT_REPORTS:
            # Several reports of one task may be merged into the last, so an agent may seem to skip states.
            if after > before:
                moves.setdefault((before, after), set()).add(AGENT)
        moves.setdefault((before, api.REJECTED), set()).add(MANAGER)  # the constraint enforcer
        moves.setdefault((before, api.ORPHANED), set()).add(MANAGER)
    return {move: frozenset(owners) for move, owners in moves.items()}


# All allowed moves, each with the parts that may make it. `REMOVE` is a desired state only, never an observed one.
MOVES = _moves()


def name_of(state: int) -> str:
    """Return a state's name, or `unknown (700)` for an unknown number, so that such a task can still be shown."""
    return NAMES.get(state) or f"unknown ({state})"


def may_move(before: int, after: int, owner: str) -> bool:
    """Return whether `owner` may move a task from one observed state to another. Staying is always allowed."""
    return before == after or owner in MOVES.get((before, after), ())


def check_move(before: int, after: int, owner: str) -> None:
    """Raise InvariantBroken unless `owner` may make the move (`may_move`)."""
    if not may_move(before, after, owner):
        raise InvariantBroken(f"{owner} may not move a task from {name_of(before)} to {name_of(after)}")


def is_live(task: api.Task) -> bool:
    """Return whether a task runs, or is on its way to running, and is meant to."""
    return task.status.state <= api.RUNNING and task.desired_state <= api.COMPLETE


def is_dead(task: api.Task) -> bool:
    """Return whether a task has ended, however it ended."""
    return task.status.state > api.RUNNING
