"""Task states: their order, and who may make which move.

States only grow. Source: SwarmKit api/types.proto (`TaskState`), design/task_model.md.
"""

from shoal.api import v1 as api

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


def is_live(task: api.Task) -> bool:
    """Return whether a task is on its way to running, or runs, and is meant to."""
    return task.status.state <= api.RUNNING and task.desired_state <= api.COMPLETE


def is_dead(task: api.Task) -> bool:
    """Return whether a task has ended, however it ended."""
    return task.status.state > api.RUNNING
