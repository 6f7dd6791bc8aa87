"""The update supervisor: one rolling update or rollback of one service, as a state machine without clocks or sleeps.

In: a draft over the view, the service, the places that changed. Out: changes in the draft (new tasks, old tasks told
to stop, the service's update status) and when to look again. Its memory is built from the view: tasks created by an
update carry a mark (`marks`), so a new leader goes on where the last one stopped. The supervisor, not this module,
restarts tasks. Source: SwarmKit manager/orchestrator/update/updater.go.
"""

from collections.abc import Collection
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.api.states import is_dead
from shoal.api.times import instant, seconds, timestamp
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator import restart, room
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
        """Return the settings that apply to the service now: the rollback config during a rollback."""
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
        """Return for how many seconds failures still count after the delay of the last place."""
        return self.monitor if self.delay < self.monitor else self.delay + 1.0


@dataclass(slots=True)
class _Begun:
    """A place whose new task exists, or that had a task of the present spec already."""

    task_id: str
    up_at: float | None = None  # when the task was first seen RUNNING or in a later state
    counted: bool = False  # whether its failure has been counted; the failure of an adopted task never counts
    is_adopted: bool = False  # the task was there before: the update only stops the other tasks of the place


def is_rollback(service: api.Service) -> bool:
    """Return whether the service is being rolled back, or its rollback is paused."""
    return service.update_status.state in (api.UpdateStatus.ROLLBACK_STARTED, api.UpdateStatus.ROLLBACK_PAUSED)


def is_paused(service: api.Service) -> bool:
    """Return whether a failure has paused an update or rollback of the service."""
    return service.update_status.state in _PAUSED


def is_under_way(service: api.Service) -> bool:
    """Return whether the service has an update or rollback that goes on or is paused."""
    return service.update_status.state in (*_STARTED, *_PAUSED)


# Tolerance in seconds: protobuf rounds instants to nanoseconds, and a float cannot hold that many digits.
_CLOCK_GRAIN = 1e-5


class Update:
    """The progress of one update: places that wait, places that have begun, failures.

    A place is in `_waiting` until the view shows its new task, or that nothing is left to stop beside a task that it
    keeps; then it is in `_begun`. So a plan that was never committed leaves no trace here.
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
        """Return whether this update still works towards the service's present spec, and was not paused and resumed."""
        resumed = self._was_paused and not is_paused(service)
        return (self._version, self._rollback) == (service.spec_version.index, is_rollback(service)) and not resumed

    def is_over(self, service: api.Service) -> bool:
        """Return whether nothing is left to do, not even to complete the update status."""
        if self._was_paused or service.update_status.state in _STARTED:
            return False
        return not self._waiting and all(begun.up_at is not None for begun in self._begun.values())

    def holds(self, place: Place) -> bool:
        """Return whether this update works on a place."""
        return place in self._waiting or place in self._begun

    def add(self, view: View, service: api.Service, place: Place, tasks: list[api.Task]) -> None:
        """Add a place that has come within reach: its tasks are outdated, or its new task has yet to run."""
        if self.holds(place):
            return
        mine = self._made_by_this(view, service, tasks)
        if mine is not None and mine.status.state < api.RUNNING:
            self._begun[place] = _Begun(mine.id)
        elif tasks and all(_is_task_dirty(view, service, task) for task in tasks):
            self._waiting[place] = None
            self._total += 1

    def forget(self, place: Place) -> None:
        """Drop a place that is out of reach. The update does not wait for it."""
        self._waiting.pop(place, None)
        self._begun.pop(place, None)

    def begin_nothing(self, view: View, service: api.Service, place: Place) -> None:
        """Do not begin a place whose node is paused. If its new task is already on that node, the update waits."""
        self._note_begun(view, service, place, tasks_in(view, service, place))
        if place in self._waiting:
            del self._waiting[place]
            self._total -= 1
        begun = self._begun.get(place)
        task = view.tasks.get(begun.task_id) if begun is not None else None
        if task is not None and task.status.state < api.ASSIGNED:
            del self._begun[place]

    def keep_only(self, places: Collection[Place]) -> None:
        """Drop places that the service no longer has."""
        for place in [place for place in self._waiting if place not in places]:
            del self._waiting[place]
        for place in [place for place in self._begun if place not in places]:
            del self._begun[place]

    def look(self, draft: Draft, service: api.Service, touched: Collection[Place], make: MakeTask) -> float | None:
        """Note what happened in the `touched` places and take the next steps. Return when to look again."""
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
        again = (self._advance(draft, service, settings, make), self._make_room(draft, service, settings))
        return min((at for at in again if at is not None), default=None)

    def _make_room(self, draft: Draft, service: api.Service, settings: Settings) -> float | None:
        """Replace stop-first after all where the new task waits for what the old one has. Return when to look again."""
        if settings.order != api.UpdateConfig.START_FIRST:
            return None
        again: list[float] = []
        for place, begun in self._begun.items():
            new = draft.view.tasks.get(begun.task_id) if begun.up_at is None else None
            if new is None:
                continue
            live = meant_to_run(tasks_in(draft.view, service, place))
            olds = [old for old in live if room.holds_up(draft.view, service, old, new)]
            until = read(new).start_at + room.PATIENCE
            if olds and until > draft.now:
                again.append(until)
            elif olds:
                for old in olds:
                    draft.set_desired(old, api.SHUTDOWN)
                _say(draft, service, room.IN_PROGRESS)
        return min(again, default=None)

    def _made_by_this(self, view: View, service: api.Service, tasks: list[api.Task]) -> api.Task | None:
        """Return the task that this update created for a place, if the view shows it.

        A task of an earlier update also counts while it is on its way and still matches the spec. This happens after
        `docker service scale` during an update.
        """
        since = instant(service.update_status.started_at)
        for task in tasks:
            if task.desired_state > api.RUNNING or not read(task).by_update:
                continue
            if task.spec_version.index == self._version:
                # By our own mark: the store's stamp is from the begin of the transaction, before the update started.
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
        """Note the progress of a place. Return the id of its task if the task failed just now."""
        tasks = tasks_in(draft.view, service, place)
        self._note_begun(draft.view, service, place, tasks)
        begun = self._begun.get(place)
        if begun is None:
            return []
        task = draft.view.tasks.get(begun.task_id)
        is_new = begun.up_at is None
        if is_new and _is_up(begun, task, tasks):
            begun.up_at = draft.now
        stop_outdated(draft, service, tasks)
        if task is None or task.status.state not in _FAILURES or task.desired_state == api.REMOVE or begun.counted:
            return []
        begun.counted = True
        in_time = is_new or begun.up_at is None or draft.now - begun.up_at <= settings.monitor
        return [task.id] if in_time else []

    def _advance(self, draft: Draft, service: api.Service, settings: Settings, make: MakeTask) -> float | None:
        now = draft.now
        is_unfinished = bool(self._waiting or self._in_flight())
        busy = self._in_flight() + sum(1 for end in self._ends(settings) if end > now)
        staged = 0
        for place in list(self._waiting):
            if draft.is_full or (settings.parallelism and busy >= settings.parallelism):
                break
            kept = _clean_task(draft.view, service, place)
            if kept is None:
                _begin(draft, service, place, settings, make)
            elif not _adopt(draft, service, place, kept, settings):
                up_at = self._keep(draft, service, place, kept)
                busy += up_at is None or up_at + settings.delay > now
                continue
            staged += 1
            busy += 1
        if is_unfinished and not service.HasField("update_status"):
            _set_status(draft, service, api.UpdateStatus.UPDATING, "update in progress", started=True)
        ends = self._ends(settings)
        if len(self._waiting) > staged:
            if draft.is_full:
                return now
            return min((end for end in ends if end > now), default=None)
        if self._waiting or self._in_flight():
            return None
        return self._finish(draft, service, max(ends, default=None), settings)

    def _in_flight(self) -> int:
        """Return how many places have begun and have no task yet that came up."""
        return sum(1 for begun in self._begun.values() if begun.up_at is None)

    def _ends(self, settings: Settings) -> list[float]:
        """Return for each place whose task came up when its delay is over."""
        return [begun.up_at + settings.delay for begun in self._begun.values() if begun.up_at is not None]

    def _keep(self, draft: Draft, service: api.Service, place: Place, task: api.Task) -> float | None:
        """Take a place for begun in which nothing is left to stop. Return since when its delay runs."""
        begun = _Begun(task.id, counted=True, is_adopted=True)
        if _is_up(begun, task, tasks_in(draft.view, service, place)):
            begun.up_at = draft.now
        del self._waiting[place]
        self._begun[place] = begun
        return begun.up_at

    def _finish(self, draft: Draft, service: api.Service, last_end: float | None, settings: Settings) -> float | None:
        """Complete the update once the last place was watched long enough, or at once if there was nothing to do."""
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


def _clean_task(view: View, service: api.Service, place: Place) -> api.Task | None:
    """Return the task of a place that already matches the spec, if there is one."""
    clean = [task for task in meant_to_run(tasks_in(view, service, place)) if not _is_task_dirty(view, service, task)]
    return max(clean, key=lambda task: task.desired_state, default=None)


def _is_up(begun: _Begun, task: api.Task | None, tasks: list[api.Task]) -> bool:
    """Return whether the delay of a place begins. An update does not wait for a task that was there before it to run.

    Source: SwarmKit manager/orchestrator/update/updater.go (`useExistingTask`).
    """
    if task is None or task.status.state >= api.RUNNING:
        return True
    return begun.is_adopted and task.desired_state >= api.RUNNING and len(meant_to_run(tasks)) < 2


def _begin(
    draft: Draft, service: api.Service, place: Place, settings: Settings, make: MakeTask, *, by_update: bool = True
) -> None:
    """Create the new task of a place that has none of the present spec."""
    live = meant_to_run(tasks_in(draft.view, service, place))
    made = make(service, place)
    if settings.order == api.UpdateConfig.START_FIRST:
        # One old task is kept until the new one runs: the one that has come furthest, and none that has ended.
        keep = max((task for task in live if not is_dead(task)), key=lambda task: task.status.state, default=None)
        _stop(draft, [task for task in live if task is not keep])
        write(made, Marks(start_at=draft.now, by_update=by_update))
    else:
        waits_for = _stop(draft, live)
        write(made, Marks(replaces=waits_for, start_at=draft.now, by_update=by_update))
        if waits_for:
            # The new task prepares (pulls its image) while the old one stops.
            made.desired_state = api.READY
    draft.create(made)


def renew(draft: Draft, service: api.Service, place: Place, make: MakeTask) -> None:
    """Bring one place to the present spec outside of an update, because its node was away during that update."""
    live = meant_to_run(tasks_in(draft.view, service, place))
    outdated = [task for task in live if _is_task_dirty(draft.view, service, task)]
    if not live or len(outdated) < len(live) or any(is_dead(task) or draft.touches(task.id) for task in live):
        return  # The supervisor replaces an ended task with one of the present spec anyway.
    _begin(draft, service, place, Settings.of(service), make, by_update=False)


def _adopt(draft: Draft, service: api.Service, place: Place, task: api.Task, settings: Settings) -> bool:
    """Keep a task that already matches the spec, and stop the others of its place. Return whether it changed any."""
    others = [other for other in meant_to_run(tasks_in(draft.view, service, place)) if other is not task]
    if settings.order == api.UpdateConfig.START_FIRST and task.status.state < api.RUNNING:
        # The other task is leaving its node (`leaving`). It is stopped once this one runs.
        others = [other for other in others if other.status.state != api.RUNNING]
    waits_for = _stop(draft, others)
    marks = read(task)
    if task.desired_state < api.RUNNING and (others or marks.start_at > draft.now + _CLOCK_GRAIN):
        waits_for = waits_for or marks.replaces
        changed = copy(task)
        write(changed, Marks(replaces=waits_for, start_at=draft.now, failures=marks.failures))
        if not waits_for:
            changed.desired_state = api.RUNNING
        draft.update(changed)
        return True
    return bool(others)


def _stop(draft: Draft, tasks: list[api.Task]) -> str:
    """Tell tasks to shut down. Return the id of one that has not stopped yet, or ""."""
    waits_for = ""
    for task in tasks:
        draft.set_desired(task, api.SHUTDOWN)
        if not restart.has_stopped(task, draft.view.nodes.get(task.node_id)):
            waits_for = task.id
    return waits_for


def stop_outdated(draft: Draft, service: api.Service, tasks: list[api.Task]) -> bool:
    """Stop the old tasks of a place once a new one runs (start-first). Return whether there was one to stop."""
    live = meant_to_run(tasks)
    if len(live) < 2:
        return False
    dirty = {task.id: task for task in live if _is_task_dirty(draft.view, service, task)}
    if any(task.status.state == api.RUNNING and task.id not in dirty for task in live):
        _stop(draft, list(dirty.values()))
        return bool(dirty)
    return False


def _give_up(draft: Draft, service: api.Service, task_id: str, settings: Settings) -> None:
    """Pause the update or roll it back, as the settings say. A failed rollback is paused, never rolled back."""
    cause = f"due to failure or early termination of task {task_id}"
    rollback = is_rollback(service)
    if settings.failure_action == api.UpdateConfig.PAUSE:
        state = api.UpdateStatus.ROLLBACK_PAUSED if rollback else api.UpdateStatus.PAUSED
        _set_status(draft, service, state, f"update paused {cause}")
    elif rollback:
        _set_status(draft, service, api.UpdateStatus.ROLLBACK_PAUSED, f"rollback paused {cause}")
    elif not service.HasField("previous_spec"):
        # There is nothing to roll back to. SwarmKit leaves the update hanging here; pausing tells the reason.
        _set_status(draft, service, api.UpdateStatus.PAUSED, f"update paused {cause}")
    else:
        changed = copy(service)
        changed.spec.CopyFrom(service.previous_spec)
        changed.spec_version.CopyFrom(service.previous_spec_version)
        changed.ClearField("previous_spec")
        changed.ClearField("previous_spec_version")
        _set_status(draft, changed, api.UpdateStatus.ROLLBACK_STARTED, f"update rolled back {cause}")


def _say(draft: Draft, service: api.Service, more: str) -> None:
    """Add to what the update status says, once."""
    newest = draft.newest(api.Service, service.id) or service
    if newest.update_status.state in _STARTED and more not in newest.update_status.message:
        _set_status(draft, newest, newest.update_status.state, newest.update_status.message + more)


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
