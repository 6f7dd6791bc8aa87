"""Tasks that are to leave a node which still runs them: it was drained, or no longer satisfies the constraints.

In: a draft, a service, its tasks; out: which of them leave like this, the changes that let them go, and when to look
again. A service that updates start-first is moved start-first as well: the successor runs before the old task is
stopped. With Swarm, whose sources have nothing like it, there is a gap; services that update stop-first are moved as
there, by the supervisor at once and by the enforcer.
"""

from shoal.api import v1 as api
from shoal.errors import ShoalError
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.manager.orchestrator.marks import Marks, read, write
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import needs_replacing, place_of
from shoal.manager.scheduler import constraints
from shoal.store.memory import View

# An old task is kept this long for a successor that has no node: whoever drains a node wants it to be empty soon, and a
# node that has room is found at once. Long enough for one that is about to come, or for a place about to be free.
PATIENCE = 10.0

_UNDER_WAY = (api.UpdateStatus.UPDATING, api.UpdateStatus.ROLLBACK_STARTED)


def moves_start_first(service: api.Service | None) -> bool:
    """Return whether the successors of a service's tasks run before those leave. Tasks of jobs and nodes never do."""
    return (
        service is not None
        and service.spec.WhichOneof("mode") == "replicated"
        and service.spec.update.order == api.UpdateConfig.START_FIRST
    )


def is_leaving(view: View, service: api.Service, task: api.Task, *, updating: bool = False) -> bool:
    """Return whether a task runs on, and only until its successor does.

    One that an update under way replaces anyway waits for its turn there, unless its node was drained. `updating`: the
    update is about to begin, and the service does not show it yet.
    """
    if not moves_start_first(service) or (task.status.state, task.desired_state) != (api.RUNNING, api.RUNNING):
        return False
    node = view.nodes.get(task.node_id)
    if node is None or node.status.state == api.NodeStatus.DOWN:
        return False
    if node.spec.availability == api.NodeSpec.DRAIN:
        return True
    if node.spec.availability != api.NodeSpec.ACTIVE or satisfies(service.spec.task.placement, node):
        return False
    updating = updating or service.update_status.state in _UNDER_WAY
    return not (updating and is_dirty(service, task, node))


def move(
    draft: Draft,
    service: api.Service,
    task: api.Task,
    *,
    others: list[api.Task],
    tasks: list[api.Task],
    make: MakeTask,
) -> list[float]:
    """Make the successor of a task that is leaving, or stop the task once that runs; return when to look again.

    `others` are those meant to run in the place that do not leave like this, `tasks` all there are. The others have
    been looked at by then: a successor that failed is tried again as its policy says, and if that lets nothing follow,
    the old one goes without.
    """
    if draft.fills(service.id, place_of(service, task)):
        return []
    staying = [one for one in others if not needs_replacing(draft.view, one)]
    if not any(one.status.state == api.RUNNING for one in staying):
        successors = [one for one in staying if _is_wanted(draft.view, service, one)]
        if successors:
            ends_at = _patience_ends_at(successors)
            if ends_at is None or ends_at > draft.now:
                return [] if ends_at is None else [ends_at]
            draft.notes.append(f"task {task.id} leaves its node: its successor has found none for {PATIENCE:.0f} s")
        elif any(one.desired_state < api.RUNNING and read(one).start_at > draft.now for one in others):
            return []  # The next one is made when the delay of this one is over.
        elif restart.is_wanted(task, tasks) and not any(draft.touches(one.id) for one in others):
            for one in staying:  # on their way, and outdated before they got there
                draft.set_desired(one, api.SHUTDOWN)
            made = make(service, place_of(service, task))
            write(made, Marks(start_at=draft.now))
            draft.create(made)
            return [draft.now + PATIENCE]
    draft.set_desired(task, api.SHUTDOWN)
    return []


def stop_twins(draft: Draft, service: api.Service, live: list[api.Task]) -> bool:
    """Leave one of several tasks that do equally well: a node was drained, and is active again before it was empty."""
    if len(live) < 2:
        return False
    view = draft.view
    staying = [task for task in live if not needs_replacing(view, task) and not is_leaving(view, service, task)]
    sound = [task for task in staying if _is_wanted(view, service, task)]
    for task in sorted(sound, key=lambda task: -task.status.state)[1:]:
        draft.set_desired(task, api.SHUTDOWN)
    return len(sound) > 1


def _is_wanted(view: View, service: api.Service, task: api.Task) -> bool:
    return not is_dirty(service, task, view.nodes.get(task.node_id) if task.node_id else None)


def _patience_ends_at(successors: list[api.Task]) -> float | None:
    """Return until when an old task is kept for successors of which none has a node; None: one has."""
    if any(task.status.state >= api.ASSIGNED for task in successors):
        return None
    return max(read(task).start_at for task in successors) + PATIENCE


def satisfies(placement: api.Placement, node: api.Node) -> bool:
    """Return whether a node satisfies the constraints of a placement."""
    if not placement.constraints:
        return True
    try:
        return constraints.matches(constraints.parse(placement.constraints), node)
    except ShoalError:
        # Control lets none through that cannot be parsed; the scheduler ignores such ones, and so does this.
        return True
