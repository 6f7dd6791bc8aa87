"""Task states: their order, and who may make which move.

States only grow. The table is law wherever a state is written: for agents' reports (`manager.dispatcher.statuses`) and
for what the manager itself decides (`manager.cascade`). Source: SwarmKit api/types.proto (`TaskState`),
design/task_model.md.
"""

from shoal.api import v1 as api
from shoal.errors import InvariantBroken

NEVER_RAN_OR_ENDED = frozenset({api.COMPLETE, api.SHUTDOWN, api.FAILED, api.REJECTED, api.ORPHANED})
NAMES: dict[int, str] = {value: name.lower() for name, value in api.TaskState.items()}

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


def _moves() -> dict[tuple[int, int], frozenset[str]]:
    moves: dict[tuple[int, int], set[str]] = {
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


def name_of(state: int) -> str:
    """Return a state's name; `unknown (700)` for a number that is none: whoever shows a task must not fail at it."""
    return NAMES.get(state) or f"unknown ({state})"


def may_move(before: int, after: int, owner: str) -> bool:
    """Return whether `owner` may move a task from one observed state to another; staying is no move."""
    return before == after or owner in MOVES.get((before, after), ())


def check_move(before: int, after: int, owner: str) -> None:
    """Raise InvariantBroken unless `owner` may make the move (`may_move`)."""
    if not may_move(before, after, owner):
        raise InvariantBroken(f"{owner} may not move a task from {name_of(before)} to {name_of(after)}")


def is_live(task: api.Task) -> bool:
    """Return whether a task is on its way to running, or runs, and is meant to."""
    return task.status.state <= api.RUNNING and task.desired_state <= api.COMPLETE


def is_dead(task: api.Task) -> bool:
    """Return whether a task has ended, however it ended."""
    return task.status.state > api.RUNNING
