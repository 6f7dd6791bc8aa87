"""The decider that evicts tasks whose node no longer satisfies the service's constraints or the task's reservations.

In: the view, the time, what changed. Out: tasks REJECTED. The orchestrator replaces them. It also moves the tasks that
leave start-first (`leaving.py`). Source: SwarmKit manager/orchestrator/constraintenforcer/constraint_enforcer.go.
"""

from collections.abc import Sequence

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.orchestrator.leaving import moves_start_first, satisfies
from shoal.manager.scheduler.generic import Stock
from shoal.store.changes import copy
from shoal.store.memory import Event, View

MESSAGE = "task rejected by constraint enforcer"
ERROR = "assigned node no longer meets constraints"


class Enforcer:
    """Checks the tasks of a node whenever the node changes."""

    name = "enforcer"
    kinds: tuple[type, ...] = (api.Node,)

    def __init__(self) -> None:
        self._left_over: list[str] = []

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the rejections of all tasks that may not stay on their nodes."""
        if events is None:
            ids = [node.id for node in view.nodes.all()]
        else:
            ids = self._left_over + [event.obj.id for event in events if _may_matter(event)]
        self._left_over = []
        draft = Draft(view, now)
        for node_id in dict.fromkeys(ids):
            node = view.nodes.get(node_id)
            if draft.is_full:
                self._left_over.append(node_id)
            elif node is not None and node.spec.availability == api.NodeSpec.ACTIVE:
                # The orchestrator empties drained nodes; a paused node keeps its tasks.
                _check_node(draft, node)
        return Plan(draft.changes(), look_again_at=now if self._left_over else None)


def _may_matter(event: Event) -> bool:
    node, old = event.obj, event.old
    if not isinstance(node, api.Node) or not isinstance(old, api.Node):
        return isinstance(node, api.Node)
    return (
        node.spec != old.spec
        or node.role != old.role
        or node.status.addr != old.status.addr
        or node.description != old.description
    )


def _check_node(draft: Draft, node: api.Node) -> None:
    view = draft.view
    left = api.Resources()
    left.CopyFrom(node.description.resources)
    stock = Stock(left.generic)
    for task in view.tasks.find("node_id", node.id):
        if not api.ASSIGNED <= task.desired_state <= api.COMPLETE or task.status.state >= api.COMPLETE:
            continue
        if task.status.state < api.ASSIGNED:
            continue  # A task of a global service that the scheduler has not confirmed: the scheduler says why.
        # The placement of the service counts: a change of placement alone does not replace tasks.
        service = view.services.get(task.service_id)
        placement = service.spec.task.placement if service is not None else task.spec.placement
        reserved = task.spec.resources.reservations
        fits = (
            (_moves(service, task) or satisfies(placement, node))
            and reserved.memory_bytes <= left.memory_bytes
            and reserved.nano_cpus <= left.nano_cpus
        )
        if fits:
            left.memory_bytes -= reserved.memory_bytes
            left.nano_cpus -= reserved.nano_cpus
            fits = all(stock.holds(resource) for resource in task.assigned_generic_resources)
            stock.take(task.assigned_generic_resources)
        if not fits:
            changed = copy(task)
            changed.status.state = api.REJECTED
            changed.status.message = MESSAGE
            changed.status.err = ERROR
            changed.status.timestamp.CopyFrom(timestamp(draft.now))
            draft.update(changed)


def _moves(service: api.Service | None, task: api.Task) -> bool:
    """Return whether the orchestrator moves the task start-first, so that it must not be rejected here."""
    is_running = task.status.state == api.RUNNING and task.desired_state == api.RUNNING
    return is_running and moves_start_first(service)
