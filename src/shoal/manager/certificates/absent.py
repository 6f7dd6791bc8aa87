"""The decider that removes nodes which were made for a join token and never registered. Pure.

In: the view, the time, what changed. Out: removals. A joiner registers within seconds. One that has not done so after
an hour gave up, or is somebody with a leaked token. Such nodes take room from joiners (`issuing.check_room`), and a
rotation of the root waits for every node. Once a node is removed from the store, its certificate is no longer valid.
Swarm keeps such nodes for ever.
"""

from collections.abc import Sequence

from shoal.api import v1 as api
from shoal.api.times import instant
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Change, Event, Kind, Remove
from shoal.store.memory import View

PATIENCE = 3600.0  # seconds; issuing.ABSENCE must say the same
MAX_REMOVED = 500  # in one transaction


class AbsentNodes:
    """Removes nodes that did not register in time."""

    name = "absent nodes"
    kinds: tuple[Kind, ...] = (api.Node,)

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the removal of every node that never came, and when the next one is due."""
        due = sorted((_due(node), node.id) for node in view.nodes.find("came", key=False) if may_go(node))
        gone = [node_id for at, node_id in due if at <= now][:MAX_REMOVED]
        changes: tuple[Change, ...] = tuple(Remove(api.Node, node_id) for node_id in gone)
        left = due[len(gone) :]
        notes = (f"{len(gone)} nodes joined and never came: they are forgotten",) if gone else ()
        return Plan(changes, notes, max(now, left[0][0]) if left else None)


def may_go(node: api.Node) -> bool:
    """Return whether a node may be removed: it never registered and is not a manager."""
    return (
        not node.HasField("description")
        and not node.HasField("manager_status")
        and node.status.state
        not in (
            api.NodeStatus.READY,
            api.NodeStatus.DISCONNECTED,
        )
    )


def _due(node: api.Node) -> float:
    return instant(node.meta.created_at) + PATIENCE
