"""Promotion and demotion: a node's role follows its spec's desired role.

The dispatcher sends the role to the node, and the CA puts it into the node's next certificate. A promotion takes effect
at once. A demoted manager becomes a worker only when it has left the quorum. Source: SwarmKit manager/role_manager.go.
"""

from collections.abc import Callable, Container, Iterable, Sequence

from shoal.api import v1 as api
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Change, Event, Kind, Update, copy
from shoal.store.memory import View

RETRY = 5.0


class RoleManager:
    """The decider of roles. `members` returns the ids of the nodes that are in the quorum now."""

    name = "roles"
    kinds: tuple[Kind, ...] = (api.Node,)

    def __init__(self, members: Callable[[], Container[str]]) -> None:
        self._members = members
        self._waiting: set[str] = set()  # demoted nodes that are still in the quorum

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the new roles of all nodes whose role can follow their spec now."""
        members = self._members()
        changes: list[Change] = []
        notes: list[str] = []
        for node in self._candidates(view, events):
            self._waiting.discard(node.id)
            wanted = node.spec.desired_role
            if wanted == node.role:
                continue
            if wanted == api.WORKER and node.id in members:
                self._waiting.add(node.id)
                continue
            changed = copy(node)
            changed.role = wanted
            changes.append(Update(changed))
            notes.append(f"node {node.id} is now a {'manager' if wanted == api.MANAGER else 'worker'}")
        return Plan(tuple(changes), tuple(notes), now + RETRY if self._waiting else None)

    def _candidates(self, view: View, events: Sequence[Event] | None) -> Iterable[api.Node]:
        if events is None:
            self._waiting.clear()
            return list(view.nodes.all())
        ids = {event.obj.id for event in events} | self._waiting
        self._waiting &= {node_id for node_id in ids if view.nodes.get(node_id) is not None}
        return [node for node in map(view.nodes.get, sorted(ids)) if node is not None]
