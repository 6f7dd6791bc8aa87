"""The decider that removes tasks from the store: old history, and ended tasks that were marked for removal.

In: the view, the time, what changed. Out: removals. The reaper looks at the places with a task that is new, has ended
or was told to stop, and at all places only when the history limit changes. Source: SwarmKit
manager/orchestrator/taskreaper/task_reaper.go.
"""

from collections.abc import Iterable, Sequence

from shoal.api import v1 as api
from shoal.api.states import is_dead, is_live
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.orchestrator.places import Place, occupants, of_this_run, place_of, tasks_in
from shoal.manager.orchestrator.restart import reported_at
from shoal.store.memory import Event, View

DEFAULT_LIMIT = 5


class Reaper:
    """Keeps the history of each place within the limit of the cluster."""

    name = "reaper"
    kinds: tuple[type, ...] = (api.Task, api.Cluster)

    def __init__(self) -> None:
        self._limit: int | None = None
        self._places: dict[tuple[str, Place], None] = {}

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the removals of all tasks that are not kept."""
        cluster = next(iter(view.clusters.all()), None)
        limit = cluster.spec.orchestration.task_history_retention_limit if cluster is not None else DEFAULT_LIMIT
        if events is None or limit != self._limit:
            tasks: Iterable[api.Task] = view.tasks.all()
        else:
            ids = dict.fromkeys(event.obj.id for event in events if _may_leave_too_many(event))
            tasks = [task for task_id in ids if (task := view.tasks.get(task_id)) is not None]
        self._limit = limit
        draft = Draft(view, now)
        for task in tasks:
            if draft.is_full:
                self._limit = None  # the next call reads all tasks, so that none is missed; this is rare
                break
            if _is_to_go(task):
                draft.remove_task(task.id)
            elif (service := view.services.get(task.service_id)) is not None:
                self._places[service.id, place_of(service, task)] = None
        while self._places and not draft.is_full:
            (service_id, place), _ = self._places.popitem()
            service = view.services.get(service_id)
            if service is not None:
                _trim(draft, service, place, limit)
        return Plan(draft.changes(), look_again_at=now if self._places or self._limit is None else None)


def _may_leave_too_many(event: Event) -> bool:
    """Return whether a change may leave something to remove. The reports of a task on its way to running do not."""
    task = event.obj
    return isinstance(task, api.Task) and (event.action == "create" or not is_live(task))


def _is_to_go(task: api.Task) -> bool:
    if task.desired_state == api.REMOVE:
        return task.status.state < api.ASSIGNED or is_dead(task)
    return not task.service_id and task.status.state >= api.ORPHANED


def _trim(draft: Draft, service: api.Service, place: Place, limit: int) -> None:
    """Remove the oldest ended tasks of a place beyond its limit."""
    attempts = service.spec.task.restart.max_attempts
    if attempts > 0:
        limit = attempts + 1  # `restart` counts attempts in the history.
    if limit < 0:
        return
    tasks = tasks_in(draft.view, service, place)
    excess = len(tasks) - limit
    if excess <= 0:
        return
    # A task that fills the place is not history: it is meant to run, has completed a job, or may not be restarted.
    filling = {task.id for task in occupants(of_this_run(service, tasks), service)}
    ended = sorted((task for task in tasks if task.id not in filling and _has_ended(task)), key=reported_at)
    for task in ended[:excess]:
        draft.remove_task(task.id)


def _has_ended(task: api.Task) -> bool:
    return is_dead(task) or (task.status.state < api.ASSIGNED and task.desired_state > api.COMPLETE)
