"""What is written of a node as it comes, falls silent, or its leader changes. Pure.

In: a node or task as stored, and what happened to it; out: the object to write, or None where nothing changes. Source
of the states and texts: SwarmKit manager/dispatcher (dispatcher.go, nodes.go).
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument

# An engine with a hundred plugins and labels describes itself in some 10 kB. All of it is written by every manager,
# kept in memory, and sent with each list of nodes.
MAX_DESCRIPTION_BYTES = 64 * 1024

MOVED_TO_UNKNOWN = 'Node moved to "unknown" state due to leadership change in cluster'
SILENT = "heartbeat failure"
SILENT_SINCE_LEADERSHIP = 'heartbeat failure for node in "unknown" state'
SENT_AWAY = "node is currently trying to find new manager"


def described(description: api.NodeDescription) -> api.NodeDescription:
    """Return of what a node says of itself the fields that are known. Raises InvalidArgument where it is too much."""
    if description.ByteSize() > MAX_DESCRIPTION_BYTES:
        raise InvalidArgument(
            f"the node's description of {description.ByteSize()} bytes is larger than {MAX_DESCRIPTION_BYTES}"
        )
    known = api.NodeDescription()
    known.CopyFrom(description)
    known.DiscardUnknownFields()
    return known


def host_of(address: str) -> str:
    """Return the host part of `host:port` or `[v6]:port`; an address without a port is returned as it is."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def with_status(node: api.Node, state: api.NodeStatus.State, message: str) -> api.Node | None:
    """Return the node with this status, or None when it has it already. The address stays."""
    if node.status.state == state and node.status.message == message:
        return None
    changed = api.Node()
    changed.CopyFrom(node)
    changed.status.state = state
    changed.status.message = message
    return changed


def ready(node: api.Node, description: api.NodeDescription | None, address: str) -> api.Node | None:
    """Return the node as READY with what it said of itself and the IP it came from, or None when nothing changed."""
    changed = api.Node()
    changed.CopyFrom(node)
    changed.status.state = api.NodeStatus.READY
    changed.status.message = ""
    if address:
        changed.status.addr = address
    if description is not None:
        changed.description.CopyFrom(description)
    return None if changed == node else changed


def silent(node: api.Node, *, was_here: bool) -> api.Node | None:
    """Return the node as DOWN after its registration ran out, or None when it is down already.

    `was_here`: it had a session with this leader, and was not only waited for.
    """
    if node.status.state == api.NodeStatus.DOWN:
        return None
    return with_status(node, api.NodeStatus.DOWN, SILENT if was_here else SILENT_SINCE_LEADERSHIP)


def unknown(node: api.Node) -> api.Node | None:
    """Return the node as UNKNOWN under a new leader, or None for one that is down: that stays known."""
    if node.status.state == api.NodeStatus.DOWN:
        return None
    return with_status(node, api.NodeStatus.UNKNOWN, MOVED_TO_UNKNOWN)


def sent_away(node: api.Node) -> api.Node | None:
    """Return the node as DISCONNECTED when its leader steps down; only a READY one is."""
    if node.status.state != api.NodeStatus.READY:
        return None
    return with_status(node, api.NodeStatus.DISCONNECTED, SENT_AWAY)


def orphan(task: api.Task) -> api.Task | None:
    """Return the task as ORPHANED, and else as it is, or None when no node has it in hands or it has ended."""
    if not api.ASSIGNED <= task.status.state <= api.RUNNING:
        return None
    changed = api.Task()
    changed.CopyFrom(task)
    changed.status.state = api.ORPHANED
    return changed
