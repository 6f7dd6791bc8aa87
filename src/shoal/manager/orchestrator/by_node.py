"""Global services and global jobs: one task on each node that may have one. The places are nodes.

In: a draft, a service, maybe one node. Out: changes in the draft, and whether the place is to be looked after. A node
that is lost has its tasks shut down, one that is paused gets nothing new and no update, one that has left the swarm
loses its tasks. A task whose node no longer satisfies the constraints is the enforcer's while the service stays the
same. Source: SwarmKit manager/orchestrator/global/global.go, jobs/global/reconciler.go.
"""

from collections.abc import Iterable
from enum import Enum, auto

from shoal.api import v1 as api
from shoal.api.states import is_dead
from shoal.errors import ShoalError
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.marks import Marks, write
from shoal.manager.orchestrator.modes import Visit
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import (
    Place,
    Places,
    by_place,
    has_completed,
    is_job,
    is_lost,
    meant_to_run,
    occupants,
    of_this_run,
    tasks_in,
)
from shoal.manager.scheduler import constraints, platforms
from shoal.store.memory import Event


class Reach(Enum):
    """What a node is to a service."""

    GONE = auto()  # not in the swarm any more
    LOST = auto()  # down or drained: nothing may run there
    UNFIT = auto()  # against the constraints, or no platform of the image
    PAUSED = auto()  # keeps what runs, gets nothing new
    AWAITED = auto()  # not heard of at the moment: its tasks are left to it
    OPEN = auto()


_VISITS = {Reach.OPEN: Visit.TEND, Reach.AWAITED: Visit.TEND, Reach.PAUSED: Visit.KEEP}


class Fit:
    """Which nodes a service may have tasks on: as its constraints say, and its image's platforms.

    What a node has left does not matter here: a task waits on it. SwarmKit goes by constraints alone, and has a task
    wait for ever on each node that its image cannot run on.
    """

    def __init__(self, service: api.Service) -> None:
        try:
            self._constraints = constraints.parse(service.spec.task.placement.constraints)
        except ShoalError:
            # Control lets none through that cannot be parsed; the scheduler ignores such ones, and so does this.
            self._constraints = []
        self._platforms = platforms.wanted(service.spec.task.placement.platforms)

    def reach(self, node: api.Node | None) -> Reach:
        """Return what a node is to the service now."""
        if node is None:
            return Reach.GONE
        if is_lost(node):
            return Reach.LOST
        if not constraints.matches(self._constraints, node):
            return Reach.UNFIT
        if not platforms.matches(self._platforms, node):
            return Reach.UNFIT
        if node.spec.availability == api.NodeSpec.PAUSE:
            return Reach.PAUSED
        return Reach.OPEN if node.status.state == api.NodeStatus.READY else Reach.AWAITED


class ByNode:
    """The mode of global services and of global jobs."""

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Go through all nodes, and through the tasks on nodes that are no more."""
        fit = Fit(service)
        groups = by_place(service, draft.view.tasks.find("service_id", service.id))
        for node in sorted(draft.view.nodes.all(), key=lambda node: node.id):
            groups.setdefault(Place(node_id=node.id), [])
        filled: Places = {}
        for place, tasks in groups.items():
            if draft.is_full:
                return None
            reach = fit.reach(draft.view.nodes.get(place.node_id))
            if not _end_former_runs(draft, service, tasks):
                return None
            if reach == Reach.UNFIT:
                # The service may have changed: unlike a change of the node, this is not for the enforcer.
                _shut_down(draft, meant_to_run(of_this_run(service, tasks)))
            elif _settle(draft, service, place, tasks, reach, make) != Visit.LEAVE:
                filling = occupants(of_this_run(service, tasks), service)
                if filling:
                    filled[place] = filling
        return filled

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Leave it to `reconcile`."""
        return False

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Do what follows from a change of one node, or of a task on it."""
        if draft.is_full:
            return Visit.AGAIN
        reach = Fit(service).reach(draft.view.nodes.get(place.node_id))
        return _settle(draft, service, place, tasks_in(draft.view, service, place), reach, make)

    def forget(self, service_id: str | None = None) -> None:
        """Do nothing: nothing is remembered."""


def may_matter(event: Event) -> bool:
    """Return whether a change of a node can change what runs there."""
    node, old = event.obj, event.old
    if not isinstance(node, api.Node) or not isinstance(old, api.Node) or event.action == "remove":
        return isinstance(node, api.Node)
    return (
        node.spec != old.spec
        or node.role != old.role
        or node.status.state != old.status.state
        or node.status.addr != old.status.addr
        or node.description != old.description
    )


def _settle(
    draft: Draft, service: api.Service, place: Place, tasks: list[api.Task], reach: Reach, make: MakeTask
) -> Visit:
    """Bring one node to what it may have."""
    counting = of_this_run(service, tasks)
    live = meant_to_run(counting)
    if reach == Reach.GONE:
        # What a job has done stays to be counted.
        draft.set_all_desired([task for task in tasks if not (is_job(service) and is_dead(task))], api.REMOVE)
        _shut_down(draft, [task for task in live if is_dead(task) and not draft.touches(task.id)])
    elif reach == Reach.LOST:
        _shut_down(draft, live)
    elif reach == Reach.UNFIT:
        # What never got there is not the enforcer's to reject.
        _shut_down(draft, [task for task in live if is_dead(task) or task.status.state < api.ASSIGNED])
    elif reach == Reach.PAUSED:
        _shut_down(draft, [task for task in live if is_dead(task)])
    elif reach == Reach.OPEN and not draft.fills(service.id, place) and not occupants(counting, service):
        _fill(draft, service, place, counting, make)
    return _VISITS.get(reach, Visit.LEAVE)


def _shut_down(draft: Draft, tasks: Iterable[api.Task]) -> None:
    for task in tasks:
        if not has_completed(task):
            draft.set_desired(task, api.SHUTDOWN)


def _fill(draft: Draft, service: api.Service, place: Place, tasks: list[api.Task], make: MakeTask) -> None:
    """Make the task of a node. It waits for what was shut down there before and has not stopped yet."""
    made = make(service, place)
    node = draft.view.nodes.get(place.node_id)
    stopping = next((task.id for task in tasks if not restart.has_stopped(task, node)), "")
    if tasks:
        write(made, Marks(replaces=stopping, start_at=draft.now, anew=True))
    if stopping:
        made.desired_state = api.READY
    draft.create(made)


def _end_former_runs(draft: Draft, service: api.Service, tasks: list[api.Task]) -> bool:
    """Have everything removed that a job did before. Returns whether there was room for it."""
    if not is_job(service):
        return True
    counting = {task.id for task in of_this_run(service, tasks)}
    return draft.set_all_desired([task for task in tasks if task.id not in counting], api.REMOVE)
