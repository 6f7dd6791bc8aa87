"""Moves running tasks start-first from nodes that were drained or no longer satisfy the constraints.

In: a draft, a service, its tasks; out: which of them leave start-first, the changes for that, and when to look again.
When a service updates start-first, its tasks also move start-first: the successor runs before the old task is stopped.
SwarmKit has nothing like this and leaves a gap. Services that update stop-first are moved as in SwarmKit, by the
supervisor and the enforcer.
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

# Seconds that an old task is kept while its successor has no node. A node with room is found at once, so a longer wait
# would only keep a drained node from becoming empty. The wait gives a joining node or freed resources a chance.
PATIENCE = 10.0

_UNDER_WAY = (api.UpdateStatus.UPDATING, api.UpdateStatus.ROLLBACK_STARTED)


def moves_start_first(service: api.Service | None) -> bool:
    """Return whether a service's tasks move start-first. Only replicated services do, not jobs or global services."""
    return (
        service is not None
        and service.spec.WhichOneof("mode") == "replicated"
        and service.spec.update.order == api.UpdateConfig.START_FIRST
    )


def is_leaving(view: View, service: api.Service, task: api.Task, *, updating: bool = False) -> bool:
    """Return whether a task must leave its node and runs until its successor does.

    When an update replaces the task anyway, the task waits for its turn in that update, unless its node was drained.
    `updating`: an update begins now, though the service's status does not show it yet.
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
    """Create the successor of a leaving task, or stop the task once its successor runs. Return when to look again.

    `others` are the place's tasks that are meant to run and do not leave; `tasks` are all tasks of the place. The
    supervisor has already looked at `others`: it retries a failed successor as the restart policy says. If the policy
    allows no further try, the old task is stopped without a successor.
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
            return []  # The supervisor creates the next successor when this one's delay is over.
        elif restart.is_wanted(task, tasks) and not any(draft.touches(one.id) for one in others):
            for one in staying:  # successors that an update made outdated before they ran
                draft.set_desired(one, api.SHUTDOWN)
            made = make(service, place_of(service, task))
            write(made, Marks(start_at=draft.now))
            draft.create(made)
            return [draft.now + PATIENCE]
    draft.set_desired(task, api.SHUTDOWN)
    return []


def keep_one(draft: Draft, leaving: list[api.Task]) -> list[api.Task]:
    """Stop all but one of the tasks that leave a place: with its successor the place would have three. Return that one.

    There are several when an update was changed before it was over, or when the successor's node is drained as well.
    The newest one stays.
    """
    kept = max(leaving, key=lambda task: (task.spec_version.index, read(task).start_at), default=None)
    for task in leaving:
        if task is not kept:
            draft.set_desired(task, api.SHUTDOWN)
    return [] if kept is None else [kept]


def stop_twins(draft: Draft, service: api.Service, live: list[api.Task]) -> bool:
    """Keep only one of several tasks in a place that all match the spec. Return whether there were several.

    This happens when a drained node becomes active again before it is empty.
    """
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
    """Return until when an old task is kept while no successor has a node; None when a successor has one."""
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
        # Control refuses constraints that cannot be parsed. The scheduler ignores such constraints; so does this.
        return True
