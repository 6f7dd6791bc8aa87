"""Which reported statuses count, and what is written of them. Pure.

In: the task as stored and the status as reported; out: the task to write, or None. A node may send anything. Only moves
that the table of states allows to agents are taken, and each field has a limit. States only grow: a report that is late
or comes twice changes nothing, so a node may safely report again.
"""

from collections.abc import Callable, Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.states import AGENT, may_move
from shoal.errors import InvalidArgument, PermissionDenied

Update = api.UpdateTaskStatusRequest.TaskStatusUpdate

# The node's clock, and what the manager writes itself: a report that differs only in these says nothing new.
_UNSAID = ("timestamp", "applied_by", "applied_at")

# In one call. A node reports each of its tasks once; Shoal's agent sends at most 1,000 statuses.
MAX_UPDATES = 10_000
# In characters. A runtime describes a failure in a few lines; a longer text is cut.
MAX_TEXT = 4096
MAX_ID = 128
# More ports than any service has; further ones are not stored.
MAX_PORTS = 256
MAX_NAME = 64


def accepted(
    updates: Iterable[Update], node_id: str, find: Callable[[str], api.Task | None]
) -> tuple[list[Update], list[Update]]:
    """Return the updates to write, one for each task with the highest state, and those that no agent may report.

    Raises PermissionDenied if one is about a task of another node, InvalidArgument for more than MAX_UPDATES.
    """
    kept: dict[str, Update] = {}
    refused: list[Update] = []
    for count, update in enumerate(updates, 1):
        if count > MAX_UPDATES:
            raise InvalidArgument(f"more than {MAX_UPDATES} statuses in one call")
        task = find(update.task_id)
        if task is None or not update.HasField("status"):
            continue
        if task.node_id != node_id:
            raise PermissionDenied("cannot update a task not assigned this node")
        late = update.status.state < task.status.state
        known = kept.get(task.id)
        if not late and not may_move(task.status.state, update.status.state, AGENT):
            refused.append(update)
        elif known is None or known.status.state <= update.status.state:
            kept[task.id] = update
    return list(kept.values()), refused


def bounded(status: api.TaskStatus) -> api.TaskStatus:
    """Return what is stored of a reported status: the known fields, each cut to its limit.

    An invalid timestamp is left out.
    """
    kept = api.TaskStatus(state=status.state, message=_cut(status.message, MAX_TEXT), err=_cut(status.err, MAX_TEXT))
    if status.HasField("timestamp") and times.is_valid(status.timestamp):
        kept.timestamp.CopyFrom(status.timestamp)
    if status.HasField("container"):
        kept.container.container_id = _cut(status.container.container_id, MAX_ID)
        kept.container.pid = status.container.pid
        kept.container.exit_code = status.container.exit_code
    if status.HasField("port_status"):
        kept.port_status.SetInParent()
        for port in status.port_status.ports[:MAX_PORTS]:
            kept.port_status.ports.add(
                name=_cut(port.name, MAX_NAME),
                protocol=_known(api.PortConfig.Protocol, port.protocol),
                target_port=port.target_port,
                published_port=port.published_port,
                publish_mode=_known(api.PortConfig.PublishMode, port.publish_mode),
            )
    return kept


def says_the_same(one: api.TaskStatus, other: api.TaskStatus) -> bool:
    """Return whether two statuses say the same about a task, apart from when and by whom they were written."""
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
    """Return the task with the reported status, or None.

    None if the report is older than what is known, says nothing new, or is a move that no agent may make.
    """
    if status.state < task.status.state or not may_move(task.status.state, status.state, AGENT):
        return None
    if task.status.state < api.ASSIGNED:
        return None  # no node has it yet
    reported = bounded(status)
    if says_the_same(reported, task.status):
        return None
    if status.HasField("timestamp") and not reported.HasField("timestamp"):
        reported.timestamp.CopyFrom(applied_at)
    changed = api.Task()
    changed.CopyFrom(task)
    changed.status.CopyFrom(reported)
    changed.status.applied_by = applied_by
    changed.status.applied_at.CopyFrom(applied_at)
    return changed


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _known(kind: type, value: int) -> int:
    """Return a value of an enum, or 0 for an unknown value, as Docker reads it."""
    return value if value in kind.values() else 0  # type: ignore[attr-defined]
