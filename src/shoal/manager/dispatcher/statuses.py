"""What a node's report changes: which statuses count, and how they are written.

In: the task as stored and the status as reported; out: the task to write, or nothing. States only grow; a report that
comes late or twice changes nothing, so that reporting again is harmless.
"""

from collections.abc import Callable, Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from shoal.api import v1 as api
from shoal.errors import PermissionDenied

# What the manager writes itself, and the node's clock: a report that differs in these alone says nothing new.
_UNSAID = ("timestamp", "applied_by", "applied_at")


def accepted(
    updates: Iterable[api.UpdateTaskStatusRequest.TaskStatusUpdate],
    node_id: str,
    find: Callable[[str], api.Task | None],
) -> list[api.UpdateTaskStatusRequest.TaskStatusUpdate]:
    """Return the updates that are about a task of this node; raise PermissionDenied if one is about another's."""
    kept = []
    for update in updates:
        task = find(update.task_id)
        if task is None or not update.HasField("status"):
            continue
        if task.node_id != node_id:
            raise PermissionDenied("cannot update a task not assigned this node")
        kept.append(update)
    return kept


def says_the_same(one: api.TaskStatus, other: api.TaskStatus) -> bool:
    """Return whether two statuses say the same of a task, whenever and by whom they were written."""
    if one.state != other.state or one.message != other.message or one.err != other.err:
        return False
    mine, theirs = api.TaskStatus(), api.TaskStatus()
    mine.CopyFrom(one)
    theirs.CopyFrom(other)
    for field in _UNSAID:
        mine.ClearField(field)
        theirs.ClearField(field)
    return mine == theirs


def apply_report(task: api.Task, status: api.TaskStatus, applied_by: str, applied_at: Timestamp) -> api.Task | None:
    """Return the task with the reported status, or None when it is older than what is known or says nothing new."""
    if status.state < task.status.state or says_the_same(status, task.status):
        return None
    changed = api.Task()
    changed.CopyFrom(task)
    changed.status.CopyFrom(status)
    changed.status.applied_by = applied_by
    changed.status.applied_at.CopyFrom(applied_at)
    return changed
