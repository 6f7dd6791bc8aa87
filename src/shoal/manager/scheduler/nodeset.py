"""All nodes that the scheduler knows, and what their tasks take. Updated with each change.

In: nodes and tasks as the view shows them; out: look-ups whose cost depends only on what they return. Source of the
rules: SwarmKit manager/scheduler/nodeset.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import Standing
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo, held_by, is_active
from shoal.manager.scheduler.shortlist import Path, Shortlist, Shortlists

if TYPE_CHECKING:
    from random import Random


class NodeSet:
    """All nodes, and what their tasks take. Every method but `take` may be repeated with the same arguments."""

    def __init__(self, rng: Random, nodes: Iterable[api.Node] = ()) -> None:
        """`rng` breaks ties between nodes."""
        # At once and not with `put_node`, because a new leader reads all nodes of the swarm before it places a task.
        self.infos: dict[str, NodeInfo] = {info.id: info for info in map(NodeInfo, nodes)}
        self._held: dict[str, Held] = {}
        self._strays: dict[str, dict[str, Held]] = {}  # on nodes that are not known, should they come back
        self._by_service: dict[str, dict[str, int]] = {}  # active tasks by node
        self._shortlists = Shortlists(self.infos, rng)

    def put_node(self, node: api.Node) -> bool:
        """Take in a node. Returns whether it is new, or differs in what tasks ask for."""
        node_id = node.id
        before = self.infos.get(node_id)
        if before is None:
            tasks = self._strays.pop(node_id, None)
        elif _differs(node, before.node):
            tasks = before.tasks
        else:
            before.node = node
            return False
        info = self.infos[node_id] = NodeInfo(node, tasks)
        self._shortlists.judge(info)
        return True

    def drop_node(self, node_id: str) -> None:
        """Forget a node; what is known of its tasks stays, should it come back."""
        info = self.infos.pop(node_id, None)
        if info is not None:
            self._shortlists.drop(node_id)
            if info.tasks:
                self._strays[node_id] = info.tasks

    def hold(self, task: api.Task) -> None:
        """Take in a task that has a node."""
        before = self._held.get(task.id)
        if before is not None:
            if before.is_active == is_active(task) and before.node_id == task.node_id:
                return
            self.release(task.id)
        self.take(task.id, held_by(task))

    def held(self, task_id: str) -> Held | None:
        """Return what a task takes of its node; None: nothing."""
        return self._held.get(task_id)

    def take(self, task_id: str, held: Held) -> None:
        """Add what a task takes. The task must not be held already."""
        self._held[task_id] = held
        if held.is_active and held.service_id:
            counts = self._by_service.setdefault(held.service_id, {})
            counts[held.node_id] = counts.get(held.node_id, 0) + 1
        info = self.infos.get(held.node_id)
        if info is not None:
            info.take(task_id, held)
        else:
            self._strays.setdefault(held.node_id, {})[task_id] = held

    def release(self, task_id: str) -> str:
        """Free what a task took. Return the id of its node, or "" if the task was not held."""
        held = self._held.pop(task_id, None)
        if held is None:
            return ""
        if held.is_active and held.service_id:
            # An empty dictionary stays, because a caller of `counts` may hold it; `forget_old` drops it.
            counts = self._by_service[held.service_id]
            counts[held.node_id] -= 1
            if not counts[held.node_id]:
                del counts[held.node_id]
        info = self.infos.get(held.node_id)
        if info is not None:
            info.give_back(task_id)
            if held.is_active:
                self._shortlists.lower(info)
        else:
            tasks = self._strays[held.node_id]
            del tasks[task_id]
            if not tasks:
                del self._strays[held.node_id]
        return held.node_id

    def counts(self, service_id: str) -> dict[str, int]:
        """Return the number of a service's active tasks by node, without nodes that have none.

        The dictionary is kept current. Tasks without a service are not counted.
        """
        return self._by_service.setdefault(service_id, {})

    def shortlist(self, standing: Standing, descriptors: Path) -> Shortlist:
        """Return the nodes that satisfy the standing half of a demand. The shortlist is kept current."""
        return self._shortlists.get(standing, descriptors)

    def forget_old(self) -> None:
        """Drop the counts of services without tasks."""
        for service_id in [service_id for service_id, counts in self._by_service.items() if not counts]:
            del self._by_service[service_id]


def _differs(node: api.Node, other: api.Node) -> bool:
    """Return whether a filter or a preference may see a difference. A renewed certificate, for instance, makes none."""
    return bool(
        node.status.state != other.status.state
        or node.status.addr != other.status.addr
        or node.role != other.role
        or node.spec != other.spec
        or node.description != other.description
    )
