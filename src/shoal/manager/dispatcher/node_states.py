"""What is written about a node when it registers, falls silent, or the leader changes. Pure.

In: a node or task as stored, and what happened to it; out: the object to write, or None when nothing changes. Source
of the states and texts: SwarmKit manager/dispatcher (dispatcher.go, nodes.go).
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument

# A description with a hundred plugins and labels takes some 10 kB. Every manager writes it to disk, keeps it in memory
# and sends it with each list of nodes.
MAX_DESCRIPTION_BYTES = 64 * 1024

MOVED_TO_UNKNOWN = 'Node moved to "unknown" state due to leadership change in cluster'
SILENT = "heartbeat failure"
SILENT_SINCE_LEADERSHIP = 'heartbeat failure for node in "unknown" state'
SENT_AWAY = "node is currently trying to find new manager"


def described(description: api.NodeDescription) -> api.NodeDescription:
    """Return a node's description of itself without unknown fields. Raises InvalidArgument if it is too large."""
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
    """Return the node with this status, or None if it has the status already. Its address stays."""
    if node.status.state == state and node.status.message == message:
        return None
    changed = api.Node()
    changed.CopyFrom(node)
    changed.status.state = state
    changed.status.message = message
    return changed


def ready(node: api.Node, description: api.NodeDescription | None, address: str) -> api.Node | None:
    """Return the node as READY, with its new description and the IP that it came from; None if nothing changed."""
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
    """Return the node as DOWN after its registration ran out, or None if it is down already.

    `was_here`: the node had a session with this leader. Otherwise the leader only waited for it.
    """
    if node.status.state == api.NodeStatus.DOWN:
        return None
    return with_status(node, api.NodeStatus.DOWN, SILENT if was_here else SILENT_SINCE_LEADERSHIP)


def unknown(node: api.Node) -> api.Node | None:
    """Return the node as UNKNOWN under a new leader. A node that is DOWN stays so, and None is returned."""
    if node.status.state == api.NodeStatus.DOWN:
        return None
    return with_status(node, api.NodeStatus.UNKNOWN, MOVED_TO_UNKNOWN)


def sent_away(node: api.Node) -> api.Node | None:
    """Return a READY node as DISCONNECTED, because its leader steps down; None for a node in another state."""
    if node.status.state != api.NodeStatus.READY:
        return None
    return with_status(node, api.NodeStatus.DISCONNECTED, SENT_AWAY)


def orphan(task: api.Task) -> api.Task | None:
    """Return the task as ORPHANED, or None if it was not assigned yet or has ended."""
    if not api.ASSIGNED <= task.status.state <= api.RUNNING:
        return None
    changed = api.Task()
    changed.CopyFrom(task)
    changed.status.state = api.ORPHANED
    return changed
