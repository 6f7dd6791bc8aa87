"""Whether a task that is updated start-first has what its successor waits for: then neither would ever go on.

Docker waits for ever (moby/moby#36934, #40797). Pure: a view, two tasks of a place; out: a bool.
"""

from shoal.api import v1 as api
from shoal.manager.orchestrator.leaving import satisfies
from shoal.manager.scheduler.demand import host_ports
from shoal.store.memory import View

# Seconds that the old task is kept meanwhile: another node may have room, or get it.
PATIENCE = 10.0

IN_PROGRESS = "; stop-first where no node has room for both tasks of a place"


def holds_up(view: View, service: api.Service, old: api.Task, new: api.Task) -> bool:
    """Return whether a task would leave its successor a host port, or a place of max replicas, on a node that suits."""
    if new.status.state >= api.ASSIGNED or old.id == new.id:
        return False
    node = view.nodes.get(old.node_id)
    if node is None or node.status.state != api.NodeStatus.READY or node.spec.availability != api.NodeSpec.ACTIVE:
        return False
    if not satisfies(service.spec.task.placement, node):
        return False
    if set(host_ports(new)) & set(host_ports(old)):
        return True
    limit = service.spec.task.placement.max_replicas
    return bool(limit) and _active(view, service, node.id) >= limit


def _active(view: View, service: api.Service, node_id: str) -> int:
    return sum(
        task.service_id == service.id and task.desired_state <= api.RUNNING
        for task in view.tasks.find("node_id", node_id)
    )
