"""The decider for replicated services: how many tasks, which of them end, which are replaced.

In: the view, the time, what changed. Out: a plan. Looks at a service as a whole when the service changes, and at one
slot when only a task or a node of it does, so that a restart costs the same among ten tasks and among ten thousand.
Source of the rules: SwarmKit manager/orchestrator/replicated/, restart/, taskinit/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.api.states import is_dead
from shoal.manager.deciding.agenda import Agenda
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.manager.orchestrator.marks import Marks, read, write
from shoal.manager.orchestrator.new_task import new_task
from shoal.manager.orchestrator.slots import Slots, by_slot, free_numbers, is_lost, is_replicated, keep_order, occupants
from shoal.manager.orchestrator.update import Update, stop_outdated
from shoal.store.changes import copy
from shoal.store.memory import Event, View

if TYPE_CHECKING:
    from random import Random

# Slots of replicated services count from 1, so these two never meet one.
WHOLE = 0  # the service with all its slots
UPDATE = -1  # only its update

Key = tuple[str, int]


class ReplicatedOrchestrator:
    """Keeps every slot of every replicated service filled with a task of the present spec.

    Remembers only when to look again and what it saw of updates that are under way; all else is read from the view.
    """

    name = "replicated"
    kinds: tuple[type, ...] = (api.Service, api.Task, api.Node)

    def __init__(self, rng: Random, ids: Callable[[], str] = new_id) -> None:
        self._rng = rng
        self._ids = ids
        self._agenda: Agenda[Key] = Agenda()
        self._updates: dict[str, Update] = {}

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return what must change for the services that `events` touch, and for those whose time has come."""
        if events is None:
            self._agenda.clear()
            self._updates.clear()
            keys = _all_keys(view)
        else:
            keys = _keys_of(view, events)
        work: dict[str, set[int]] = {}
        for service_id, slot in (*keys, *self._agenda.due(now)):
            work.setdefault(service_id, set()).add(slot)
        draft = Draft(view, now)
        for service_id, slots in work.items():
            if draft.is_full:
                for slot in slots:
                    self._agenda.put((service_id, slot), now)
            else:
                self._look_at_service(draft, service_id, slots)
        return Plan(draft.changes(), tuple(draft.notes), self._agenda.next_at())

    def _look_at_service(self, draft: Draft, service_id: str, slots: set[int]) -> None:
        service = draft.view.services.get(service_id)
        if service is None:
            self._abandon(draft, service_id, slots)
            return
        if not is_replicated(service):
            return
        if WHOLE in slots:
            slots |= self._reconcile(draft, service)
        update = self._updates.get(service_id)
        if update is not None:
            if update.is_over(service):
                del self._updates[service_id]
            else:
                self._put((service_id, UPDATE), update.look(draft, service, slots, self._maker(draft)))
        for slot in sorted(slots):
            if slot > WHOLE:
                self._look_at_slot(draft, service, slot)

    def _abandon(self, draft: Draft, service_id: str, slots: set[int]) -> None:
        """The service is gone: so are its tasks."""
        self._updates.pop(service_id, None)
        if WHOLE in slots:
            tasks = draft.view.tasks.find("service_id", service_id)
        else:
            tasks = [task for slot in slots for task in draft.view.tasks.find("slot", (service_id, slot))]
        if not _remove(draft, tasks):
            self._agenda.put((service_id, WHOLE), draft.now)

    def _reconcile(self, draft: Draft, service: api.Service) -> set[int]:
        """Bring the number of slots to what is asked for; return the slots that need a look of their own."""
        view = draft.view
        groups = by_slot(view.tasks.find("service_id", service.id))
        filled: Slots = {}
        for slot, tasks in groups.items():
            filling = occupants(tasks, service)
            if filling:
                filled[slot] = filling
        free = {slot: tasks for slot, tasks in groups.items() if slot not in filled}
        wanted = service.spec.replicated.replicas
        if len(filled) > wanted:
            for slot in keep_order(filled)[wanted:]:
                # What ended in it before stays to be seen until the service changes again, as with SwarmKit
                # (orchestrator/replicated/services.go: only tasks that may be updated are told to go).
                free[slot] = filled.pop(slot)
        missing = wanted - len(filled)
        make = self._maker(draft)
        fresh = free_numbers(filled, min(missing, draft.room))
        for slot in fresh:
            free.pop(slot, None)
            draft.create(make(service, slot))
        if not all(_remove(draft, tasks) for tasks in free.values()) or len(fresh) < missing:
            # The next plan goes on here; the rest is looked at by the one that has room for all of it.
            self._agenda.put((service.id, WHOLE), draft.now)
            return set()
        self._follow_update(view, service, filled)
        if service.id in self._updates:
            return set(filled)
        return {slot for slot, tasks in filled.items() if any(_needs_look(view, task) for task in tasks)}

    def _follow_update(self, view: View, service: api.Service, filled: Slots) -> None:
        update = self._updates.get(service.id)
        if update is not None and update.is_for(service):
            update.keep_only(filled)
            return
        fresh = Update(view, service, filled)
        if fresh.is_over(service):
            self._updates.pop(service.id, None)
        else:
            self._updates[service.id] = fresh

    def _look_at_slot(self, draft: Draft, service: api.Service, slot: int) -> None:
        """Replace what ended, start what has waited long enough."""
        tasks = draft.view.tasks.find("slot", (service.id, slot))
        live = [task for task in tasks if task.desired_state <= api.RUNNING]
        if draft.is_full:
            if any(_needs_look(draft.view, task) for task in live):
                self._agenda.put((service.id, slot), draft.now)
            return
        if any(draft.touches(task.id) for task in live) or draft.fills(service.id, slot):
            return  # What was changed just now comes back as an event.
        if service.id not in self._updates and stop_outdated(draft, service, live):
            return  # The update that began this was over before what replaced its own task ran.
        look_at: list[float] = []
        is_replaced = False
        for task in live:
            node = draft.view.nodes.get(task.node_id) if task.node_id else None
            if not is_dead(task) and not (task.node_id and is_lost(node)):
                look_at += self._start_if_due(draft, task)
            elif task.desired_state < api.RUNNING and read(task).start_at > draft.now:
                # Its own delay still runs: what replaces it waits as well, or an image that is nowhere spins.
                look_at.append(read(task).start_at)
            else:
                _set_desired(draft, task, api.SHUTDOWN)
                filled = is_replaced or _is_filled_without(draft.view, service, task, live)
                if not filled and restart.is_wanted(task, tasks):
                    look_at += self._replace(draft, service, task, node)
                    is_replaced = True
        self._put((service.id, slot), min(look_at, default=None))

    def _start_if_due(self, draft: Draft, task: api.Task) -> list[float]:
        """Let a waiting replacement run if it may; else return the time of the next look."""
        if task.desired_state >= api.RUNNING:
            return []
        marks = read(task)
        old = draft.view.tasks.get(marks.replaces) if marks.replaces else None
        old_node = draft.view.nodes.get(old.node_id) if old is not None else None
        at = restart.start_time(task, marks, old, old_node, draft.now)
        if at > draft.now:
            return [at]
        _set_desired(draft, task, api.RUNNING)
        return []

    def _replace(self, draft: Draft, service: api.Service, task: api.Task, node: api.Node | None) -> list[float]:
        """Make the task that takes the place of one that ended or lost its node."""
        failures = restart.failures_in_a_row(task) if task.spec_version == service.spec_version else 0
        delay = restart.delay_before(task, node, failures, self._rng)
        made = self._maker(draft)(service, task.slot)
        waits_for = "" if restart.has_stopped(task, node) else task.id
        write(made, Marks(replaces=waits_for, start_at=draft.now + delay, failures=failures))
        if delay or waits_for:
            made.desired_state = api.READY
        draft.create(made)
        if delay:
            return [read(made).start_at]  # as it is kept, which may differ from `now + delay` by rounding
        return [draft.now + restart.OLD_TASK_TIMEOUT] if waits_for else []

    def _maker(self, draft: Draft) -> Callable[[api.Service, int], api.Task]:
        cluster = next(iter(draft.view.clusters.all()), None)
        return lambda service, slot: new_task(self._ids(), service, slot, draft.now, cluster)

    def _put(self, key: Key, at: float | None) -> None:
        if at is None:
            self._agenda.drop(key)
        else:
            self._agenda.put(key, at)


def _all_keys(view: View) -> dict[Key, None]:
    keys: dict[Key, None] = {(service.id, WHOLE): None for service in view.services.all()}
    for task in view.tasks.all():
        if task.service_id and view.services.get(task.service_id) is None:
            keys[task.service_id, WHOLE] = None
    return keys


def _keys_of(view: View, events: Iterable[Event]) -> dict[Key, None]:
    keys: dict[Key, None] = {}
    for event in events:
        obj = event.obj
        if isinstance(obj, api.Service):
            keys[obj.id, WHOLE] = None
        elif isinstance(obj, api.Task):
            if obj.service_id:
                lost = event.action == "remove" and obj.desired_state <= api.RUNNING
                keys[obj.service_id, WHOLE if lost else obj.slot] = None
        elif isinstance(obj, api.Node) and is_lost(view.nodes.get(obj.id)):
            for task in view.tasks.find("node_id", obj.id):
                # One told to stop already may be what a replacement waits for.
                if task.service_id and task.status.state <= api.RUNNING:
                    keys[task.service_id, task.slot] = None
    return keys


def _needs_look(view: View, task: api.Task) -> bool:
    if is_dead(task) or task.desired_state < api.RUNNING:
        return True
    return bool(task.node_id) and is_lost(view.nodes.get(task.node_id))


def _is_filled_without(view: View, service: api.Service, task: api.Task, live: list[api.Task]) -> bool:
    """Return whether another live task of the slot makes a replacement of `task` one too many."""

    def is_outdated(one: api.Task) -> bool:
        return is_dirty(service, one, view.nodes.get(one.node_id) if one.node_id else None)

    others = [one for one in live if one is not task and not _needs_replacing(view, one)]
    if not others:
        return False
    # In a start-first update the old task runs on, yet its replacement must be tried again.
    return is_outdated(task) or not all(is_outdated(one) for one in others)


def _needs_replacing(view: View, task: api.Task) -> bool:
    return is_dead(task) or bool(task.node_id and is_lost(view.nodes.get(task.node_id)))


def _set_desired(draft: Draft, task: api.Task, state: api.TaskState) -> None:
    changed = copy(task)
    changed.desired_state = state
    draft.update(changed)


def _remove(draft: Draft, tasks: Iterable[api.Task]) -> bool:
    """Mark tasks for removal by the reaper, as many as the plan has room for. Returns whether that was all."""
    for task in tasks:
        if task.desired_state < api.REMOVE:
            if draft.is_full:
                return False
            _set_desired(draft, task, api.REMOVE)
    return True
