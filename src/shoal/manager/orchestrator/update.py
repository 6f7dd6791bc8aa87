"""The update supervisor: one rolling update or rollback of one service, as a state machine without clocks or sleeps.

In: a draft over the view, the service, the places that changed. Out: changes in the draft (new tasks, old ones told
to stop, the service's update status) and the time of the next look. What it remembers it has seen in the view, so that
a new leader goes on where the last one stopped: tasks made by an update carry a mark. Restarts are not its business.
Source: SwarmKit manager/orchestrator/update/updater.go.
"""

from collections.abc import Collection
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.api.states import is_dead
from shoal.api.times import instant, seconds, timestamp
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.manager.orchestrator.marks import Marks, read, write
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import Place, Places, meant_to_run, tasks_in
from shoal.store.changes import copy
from shoal.store.memory import View

DEFAULT_MONITOR = 5.0
DEFAULT_PARALLELISM = 1

_STARTED = (api.UpdateStatus.UPDATING, api.UpdateStatus.ROLLBACK_STARTED)
_PAUSED = (api.UpdateStatus.PAUSED, api.UpdateStatus.ROLLBACK_PAUSED)
_FAILURES = (api.COMPLETE, api.FAILED, api.REJECTED, api.ORPHANED)


@dataclass(frozen=True, slots=True)
class Settings:
    """An update or rollback config with Swarm's defaults filled in; times in seconds."""

    parallelism: int  # 0: all places at once
    delay: float
    monitor: float
    failure_action: api.UpdateConfig.FailureAction
    max_failure_ratio: float
    order: api.UpdateConfig.UpdateOrder

    @classmethod
    def of(cls, service: api.Service) -> "Settings":
        """Return what holds for the service now: the rollback's settings while it is rolled back."""
        field = "rollback" if is_rollback(service) else "update"
        config: api.UpdateConfig = getattr(service.spec, field)
        return cls(
            parallelism=config.parallelism if service.spec.HasField(field) else DEFAULT_PARALLELISM,
            delay=seconds(config.delay),
            monitor=seconds(config.monitor) if config.HasField("monitor") else DEFAULT_MONITOR,
            failure_action=config.failure_action,
            max_failure_ratio=config.max_failure_ratio,
            order=config.order,
        )

    @property
    def last_watch(self) -> float:
        """Return how long failures are watched for after the last place is through."""
        return self.monitor if self.delay < self.monitor else self.delay + 1.0


@dataclass(slots=True)
class _Begun:
    """A place whose new task exists."""

    task_id: str
    up_at: float | None = None  # when it was seen RUNNING, or beyond
    counted: bool = False  # its failure has been counted


def is_rollback(service: api.Service) -> bool:
    """Return whether the service is on its way back to its previous spec."""
    return service.update_status.state in (api.UpdateStatus.ROLLBACK_STARTED, api.UpdateStatus.ROLLBACK_PAUSED)


def is_paused(service: api.Service) -> bool:
    """Return whether an update or rollback of the service was stopped by a failure."""
    return service.update_status.state in _PAUSED


def is_under_way(service: api.Service) -> bool:
    """Return whether an update or rollback of the service goes on, or was stopped by a failure."""
    return service.update_status.state in (*_STARTED, *_PAUSED)


# Instants on their way through protobuf are rounded to nanoseconds, and a float has fewer digits than that.
_CLOCK_GRAIN = 1e-5


class Update:
    """What has been seen of one update: places still to do, places begun, failures.

    A place is in `waiting` until the view shows the task that was made for it, in `begun` from then on: a plan that
    was never committed leaves no trace.
    """

    def __init__(self, view: View, service: api.Service, filled: Places) -> None:
        self._version = service.spec_version.index
        self._rollback = is_rollback(service)
        self._was_paused = is_paused(service)
        self._waiting: dict[Place, None] = {}
        self._begun: dict[Place, _Begun] = {}
        self._failures = 0
        for place, tasks in filled.items():
            mine = self._made_by_this(view, service, tasks)
            if mine is not None:
                up_at = restart.reported_at(mine) if mine.status.state >= api.RUNNING else None
                self._begun[place] = _Begun(mine.id, up_at)
            elif _is_place_dirty(view, service, tasks):
                self._waiting[place] = None
        self._total = len(self._waiting) + len(self._begun)

    def is_for(self, service: api.Service) -> bool:
        """Return whether the service still has the goal that this update works towards."""
        resumed = self._was_paused and not is_paused(service)
        return (self._version, self._rollback) == (service.spec_version.index, is_rollback(service)) and not resumed

    def is_over(self, service: api.Service) -> bool:
        """Return whether nothing is left to do, not even a status to complete."""
        if self._was_paused or service.update_status.state in _STARTED:
            return False
        return not self._waiting and all(begun.up_at is not None for begun in self._begun.values())

    def holds(self, place: Place) -> bool:
        """Return whether a place is this update's to bring to its end."""
        return place in self._waiting or place in self._begun

    def add(self, view: View, service: api.Service, place: Place, tasks: list[api.Task]) -> None:
        """Take in a place that has come within reach, if none of its tasks is what the service asks for."""
        if not self.holds(place) and tasks and all(_is_task_dirty(view, service, task) for task in tasks):
            self._waiting[place] = None
            self._total += 1

    def forget(self, place: Place) -> None:
        """Leave a place alone: it is out of reach, and nobody waits for it."""
        self._waiting.pop(place, None)
        self._begun.pop(place, None)

    def begin_nothing(self, view: View, service: api.Service, place: Place) -> None:
        """Leave a place as it is, whose node is paused. It is waited for where the new task is on that node already."""
        self._note_begun(view, service, place, tasks_in(view, service, place))
        if place in self._waiting:
            del self._waiting[place]
            self._total -= 1
        begun = self._begun.get(place)
        task = view.tasks.get(begun.task_id) if begun is not None else None
        if task is not None and task.status.state < api.ASSIGNED:
            del self._begun[place]

    def keep_only(self, places: Collection[Place]) -> None:
        """Forget places that the service no longer has."""
        for place in [place for place in self._waiting if place not in places]:
            del self._waiting[place]
        for place in [place for place in self._begun if place not in places]:
            del self._begun[place]

    def look(self, draft: Draft, service: api.Service, touched: Collection[Place], make: MakeTask) -> float | None:
        """Take in what happened to the `touched` places and do what is next. Returns the time of the next look."""
        settings = Settings.of(service)
        failed: list[str] = []
        for place in sorted(place for place in touched if self.holds(place)):
            failed += self._look_at_place(draft, service, place, settings)
        if is_paused(service):
            self._was_paused = True
            return None
        if settings.failure_action != api.UpdateConfig.CONTINUE:
            for task_id in failed:
                self._failures += 1
                # The ratio is a 32-bit float on the wire: 7 of 10 must not exceed its 0.7.
                if self._failures / self._total > settings.max_failure_ratio + 1e-6:
                    _give_up(draft, service, task_id, settings)
                    return None
        return self._advance(draft, service, settings, make)

    def _made_by_this(self, view: View, service: api.Service, tasks: list[api.Task]) -> api.Task | None:
        """Return the task that this update made for a place, if the view shows it.

        One that an update before it made counts as well while it is on its way and still is what is wanted, as after
        `docker service scale` in the middle of an update.
        """
        since = instant(service.update_status.started_at)
        for task in tasks:
            if task.desired_state > api.RUNNING or not read(task).by_update:
                continue
            if task.spec_version.index == self._version:
                # By our own mark: the store's stamp is of the transaction's begin, before this update's.
                if read(task).start_at >= since - _CLOCK_GRAIN:
                    return task
            elif task.status.state < api.RUNNING and not _is_task_dirty(view, service, task):
                return task
        return None

    def _note_begun(self, view: View, service: api.Service, place: Place, tasks: list[api.Task]) -> None:
        mine = self._made_by_this(view, service, tasks) if place in self._waiting else None
        if mine is not None:
            del self._waiting[place]
            self._begun[place] = _Begun(mine.id)

    def _look_at_place(self, draft: Draft, service: api.Service, place: Place, settings: Settings) -> list[str]:
        """Note how far a place has come; return the id of its task if that failed just now."""
        tasks = tasks_in(draft.view, service, place)
        self._note_begun(draft.view, service, place, tasks)
        begun = self._begun.get(place)
        if begun is None:
            return []
        task = draft.view.tasks.get(begun.task_id)
        is_new = begun.up_at is None
        if is_new and (task is None or task.status.state >= api.RUNNING):
            begun.up_at = draft.now
        stop_outdated(draft, service, tasks)
        if task is None or task.status.state not in _FAILURES or task.desired_state == api.REMOVE or begun.counted:
            return []
        begun.counted = True
        in_time = is_new or begun.up_at is None or draft.now - begun.up_at <= settings.monitor
        return [task.id] if in_time else []

    def _advance(self, draft: Draft, service: api.Service, settings: Settings, make: MakeTask) -> float | None:
        now = draft.now
        ends = [begun.up_at + settings.delay for begun in self._begun.values() if begun.up_at is not None]
        in_flight = len(self._begun) - sum(1 for end in ends if end <= now)
        begun_now = 0
        for place in list(self._waiting):
            if draft.is_full or (settings.parallelism and in_flight + begun_now >= settings.parallelism):
                break
            if _begin(draft, service, place, settings, make):
                begun_now += 1
            else:
                del self._waiting[place]
        if (self._waiting or len(ends) < len(self._begun)) and not service.HasField("update_status"):
            _set_status(draft, service, api.UpdateStatus.UPDATING, "update in progress", started=True)
        if len(self._waiting) > begun_now:
            if draft.is_full:
                return now
            return min((end for end in ends if end > now), default=None)
        if self._waiting or len(ends) < len(self._begun):
            return None
        return self._finish(draft, service, max(ends, default=None), settings)

    def _finish(self, draft: Draft, service: api.Service, last_end: float | None, settings: Settings) -> float | None:
        """Complete the update once the last place has been watched long enough; with nothing done, at once."""
        if service.update_status.state not in _STARTED:
            return None
        if last_end is not None and draft.now < last_end + settings.last_watch:
            return last_end + settings.last_watch
        if self._rollback:
            _set_status(draft, service, api.UpdateStatus.ROLLBACK_COMPLETED, "rollback completed", completed=True)
        else:
            _set_status(draft, service, api.UpdateStatus.COMPLETED, "update completed", completed=True)
        return None


def _is_place_dirty(view: View, service: api.Service, tasks: list[api.Task]) -> bool:
    return any(_is_task_dirty(view, service, task) for task in tasks)


def _is_task_dirty(view: View, service: api.Service, task: api.Task) -> bool:
    return is_dirty(service, task, view.nodes.get(task.node_id) if task.node_id else None)


def _begin(
    draft: Draft, service: api.Service, place: Place, settings: Settings, make: MakeTask, *, by_update: bool = True
) -> bool:
    """Make a place's new task, or use one that is there. Returns whether a new one was made."""
    tasks = tasks_in(draft.view, service, place)
    live = meant_to_run(tasks)
    clean = [task for task in live if not _is_task_dirty(draft.view, service, task)]
    if clean:
        _adopt(draft, live, max(clean, key=lambda task: task.desired_state), settings)
        return False
    made = make(service, place)
    if settings.order == api.UpdateConfig.START_FIRST:
        # One old task is kept until the new one runs: not an ended one, nor what an update cut short had begun.
        keep = max((task for task in live if not is_dead(task)), key=lambda task: task.status.state, default=None)
        _stop(draft, [task for task in live if task is not keep])
        write(made, Marks(start_at=draft.now, by_update=by_update))
    else:
        waits_for = _stop(draft, live)
        write(made, Marks(replaces=waits_for, start_at=draft.now, by_update=by_update))
        if waits_for:
            # It prepares (pulls its image) while the old one stops.
            made.desired_state = api.READY
    draft.create(made)
    return True


def renew(draft: Draft, service: api.Service, place: Place, make: MakeTask) -> None:
    """Bring one place to the present spec outside of any update: its node was not there when that came."""
    live = meant_to_run(tasks_in(draft.view, service, place))
    outdated = [task for task in live if _is_task_dirty(draft.view, service, task)]
    if not live or len(outdated) < len(live) or any(is_dead(task) or draft.touches(task.id) for task in live):
        return  # What has ended is replaced by what is wanted now anyway.
    _begin(draft, service, place, Settings.of(service), make, by_update=False)


def _adopt(draft: Draft, live: list[api.Task], task: api.Task, settings: Settings) -> None:
    """Keep a task that already is what the service asks for, and stop its place's others."""
    others = [other for other in live if other is not task]
    if settings.order == api.UpdateConfig.START_FIRST and task.status.state < api.RUNNING:
        # It came because the other one is about to leave its node. Once it runs, that one goes.
        others = [other for other in others if other.status.state != api.RUNNING]
    waits_for = _stop(draft, others)
    if task.desired_state < api.RUNNING:
        marks = read(task)
        waits_for = waits_for or marks.replaces
        changed = copy(task)
        write(changed, Marks(replaces=waits_for, start_at=draft.now, failures=marks.failures))
        if not waits_for:
            changed.desired_state = api.RUNNING
        draft.update(changed)


def _stop(draft: Draft, tasks: list[api.Task]) -> str:
    """Tell tasks to shut down; return the id of one whose end must be waited for, or ""."""
    waits_for = ""
    for task in tasks:
        draft.set_desired(task, api.SHUTDOWN)
        if not restart.has_stopped(task, draft.view.nodes.get(task.node_id)):
            waits_for = task.id
    return waits_for


def stop_outdated(draft: Draft, service: api.Service, tasks: list[api.Task]) -> bool:
    """Stop a place's old task once a new one runs (start-first). Returns whether there was one to stop."""
    live = meant_to_run(tasks)
    if len(live) < 2:
        return False
    dirty = {task.id: task for task in live if _is_task_dirty(draft.view, service, task)}
    if any(task.status.state == api.RUNNING and task.id not in dirty for task in live):
        _stop(draft, list(dirty.values()))
        return bool(dirty)
    return False


def _give_up(draft: Draft, service: api.Service, task_id: str, settings: Settings) -> None:
    """Pause or roll back, as the settings say. A rollback is never rolled back."""
    cause = f"due to failure or early termination of task {task_id}"
    rollback = is_rollback(service)
    if settings.failure_action == api.UpdateConfig.PAUSE:
        state = api.UpdateStatus.ROLLBACK_PAUSED if rollback else api.UpdateStatus.PAUSED
        _set_status(draft, service, state, f"update paused {cause}")
    elif rollback:
        _set_status(draft, service, api.UpdateStatus.ROLLBACK_PAUSED, f"rollback paused {cause}")
    elif not service.HasField("previous_spec"):
        # SwarmKit fails here and leaves the update hanging; paused says what is the matter.
        _set_status(draft, service, api.UpdateStatus.PAUSED, f"update paused {cause}")
    else:
        changed = copy(service)
        changed.spec.CopyFrom(service.previous_spec)
        changed.spec_version.CopyFrom(service.previous_spec_version)
        changed.ClearField("previous_spec")
        changed.ClearField("previous_spec_version")
        _set_status(draft, changed, api.UpdateStatus.ROLLBACK_STARTED, f"update rolled back {cause}")


def _set_status(
    draft: Draft,
    service: api.Service,
    state: api.UpdateStatus.UpdateState,
    message: str,
    *,
    started: bool = False,
    completed: bool = False,
) -> None:
    changed = copy(service)
    changed.update_status.state = state
    changed.update_status.message = message
    if started:
        changed.update_status.started_at.CopyFrom(timestamp(draft.now))
    if completed:
        changed.update_status.completed_at.CopyFrom(timestamp(draft.now))
    draft.update(changed)
    draft.notes.append(f"service {service.spec.annotations.name}: {message}")
