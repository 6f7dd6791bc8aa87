"""Global services and global jobs: one task on each node that may have one. The places are nodes.

In: a draft, a service, maybe one node. Out: changes in the draft, and who looks after the place next. Tasks on a lost
node are shut down. A paused node gets no new task and no update. Tasks on a node that has left the swarm are removed.
When a change of the node breaks a constraint, the enforcer evicts the task; when a change of the service does, this
module does. Source: SwarmKit manager/orchestrator/global/global.go, jobs/global/reconciler.go.
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
    """Whether a service may have tasks on a node now."""

    GONE = auto()  # the node is not in the swarm any more
    LOST = auto()  # the node is down or drained: nothing may run there
    UNFIT = auto()  # the constraints or the platforms of the image exclude the node
    PAUSED = auto()  # the node keeps what runs and gets nothing new
    AWAITED = auto()  # the node is not READY at the moment: it keeps its tasks and gets no new ones
    OPEN = auto()


_VISITS = {Reach.OPEN: Visit.TEND, Reach.AWAITED: Visit.TEND, Reach.PAUSED: Visit.KEEP}


class Fit:
    """Decides by the constraints of a service and the platforms of its image on which nodes it may have tasks.

    Free resources do not count here: a task waits on its node until they are free. SwarmKit checks only constraints, so
    there a task waits for ever on each node that cannot run the image.
    """

    def __init__(self, service: api.Service) -> None:
        try:
            self._constraints = constraints.parse(service.spec.task.placement.constraints)
        except ShoalError:
            # Control refuses constraints that cannot be parsed. The scheduler ignores such constraints; so does this.
            self._constraints = []
        self._platforms = platforms.wanted(service.spec.task.placement.platforms)

    def reach(self, node: api.Node | None) -> Reach:
        """Return whether the service may have tasks on a node now. None: the node has left the swarm."""
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
        """Look at every node, and at every task whose node has left the swarm."""
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
                # The service may have changed. The enforcer only looks at nodes that change.
                _shut_down(draft, meant_to_run(of_this_run(service, tasks)))
            elif _settle(draft, service, place, tasks, reach, make) != Visit.LEAVE:
                filling = occupants(of_this_run(service, tasks), service)
                if filling:
                    filled[place] = filling
        return filled

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Return False: only `reconcile` can tell what is missing."""
        return False

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Handle a change of one node, or of a task on it."""
        if draft.is_full:
            return Visit.AGAIN
        reach = Fit(service).reach(draft.view.nodes.get(place.node_id))
        return _settle(draft, service, place, tasks_in(draft.view, service, place), reach, make)

    def forget(self, service_id: str | None = None) -> None:
        """Do nothing: this mode remembers nothing."""


def may_matter(event: Event) -> bool:
    """Return whether a change of a node can change what runs on it."""
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
    """Create, shut down or remove tasks on one node, as `reach` says."""
    counting = of_this_run(service, tasks)
    live = meant_to_run(counting)
    if reach == Reach.GONE:
        # The ended tasks of a job stay, because they are counted.
        draft.set_all_desired([task for task in tasks if not (is_job(service) and is_dead(task))], api.REMOVE)
        _shut_down(draft, [task for task in live if is_dead(task) and not draft.touches(task.id)])
    elif reach == Reach.LOST:
        _shut_down(draft, live)
    elif reach == Reach.UNFIT:
        # The enforcer rejects only tasks that were assigned; these never were.
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
    """Create the task of a node. It waits for an earlier task there that has not stopped yet."""
    made = make(service, place)
    node = draft.view.nodes.get(place.node_id)
    stopping = next((task.id for task in tasks if not restart.has_stopped(task, node)), "")
    if tasks:
        write(made, Marks(replaces=stopping, start_at=draft.now, anew=True))
    if stopping:
        made.desired_state = api.READY
    draft.create(made)


def _end_former_runs(draft: Draft, service: api.Service, tasks: list[api.Task]) -> bool:
    """Have the tasks of a job's earlier iterations removed. Return whether the draft had room for all of them."""
    if not is_job(service):
        return True
    counting = {task.id for task in of_this_run(service, tasks)}
    return draft.set_all_desired([task for task in tasks if task.id not in counting], api.REMOVE)
