"""The decider for services of every mode: how many tasks they have, and which of these end or are replaced.

In: the view, the time, what changed. Out: a plan. The orchestrator looks at all places of a service when the service
changes, and at one place when only a task or a node changes. So a restart costs the same among ten tasks and among ten
thousand. The mode (`modes.py`) decides which places a service has; the supervisor and the update decide what happens
in each place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.manager.deciding.agenda import Agenda
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.orchestrator.by_node import ByNode, may_matter
from shoal.manager.orchestrator.leaving import moves_start_first
from shoal.manager.orchestrator.modes import Mode, Visit
from shoal.manager.orchestrator.new_task import MakeTask, new_task
from shoal.manager.orchestrator.places import Place, Places, is_by_node, is_job, is_lost, occupants, place_of, tasks_in
from shoal.manager.orchestrator.replicated import Replicated, asks_for_more_alone
from shoal.manager.orchestrator.replicated_job import ReplicatedJobs
from shoal.manager.orchestrator.supervisor import Supervisor, needs_look
from shoal.manager.orchestrator.update import Update, is_paused, renew
from shoal.store.memory import Event, View

if TYPE_CHECKING:
    from random import Random


class Part(Enum):
    """A part of a service that the orchestrator looks at, when it is not a single place."""

    WHOLE = "the service with all its places"
    UPDATE = "only its update"
    GROWTH = "only what is missing: it asks for more than before"


Key = tuple[str, Place | Part]


class Orchestrator:
    """Keeps every place of every service filled with a task of the present spec.

    Remembers only when to look again, the updates under way and what its modes have counted. All of it can be read from
    the view again.
    """

    name = "orchestrator"
    kinds: tuple[type, ...] = (api.Service, api.Task, api.Node)

    def __init__(self, rng: Random, ids: Callable[[], str] = new_id) -> None:
        self._supervisor = Supervisor(rng)
        self._ids = ids
        self._agenda: Agenda[Key] = Agenda()
        self._updates: dict[str, Update] = {}
        by_node = ByNode()
        self._modes: dict[str, Mode] = {
            "replicated": Replicated(),
            "global": by_node,
            "replicated_job": ReplicatedJobs(),
            "global_job": by_node,
        }

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the changes for the services that `events` touch, and for those that are due to be looked at."""
        if events is None:
            self._agenda.clear()
            self._updates.clear()
            for mode in self._modes.values():
                mode.forget()
            keys = _all_keys(view)
        else:
            keys = _keys_of(view, events)
        work: dict[str, set[Place | Part]] = {}
        for service_id, what in (*keys, *self._agenda.due(now)):
            work.setdefault(service_id, set()).add(what)
        draft = Draft(view, now)
        for service_id, parts in work.items():
            if draft.is_full:
                self._put_off(service_id, parts, now)
            else:
                self._look_at_service(draft, service_id, parts)
        return Plan(draft.changes(), tuple(draft.notes), self._agenda.next_at())

    def _look_at_service(self, draft: Draft, service_id: str, parts: set[Place | Part]) -> None:
        service = draft.view.services.get(service_id)
        if service is None:
            self._abandon(draft, service_id)
            return
        mode = self._modes.get(service.spec.WhichOneof("mode") or "")
        if mode is None:
            return
        make = self._maker(draft)
        places = {what for what in parts if isinstance(what, Place)}
        if Part.WHOLE in parts or (Part.GROWTH in parts and service_id in self._updates):
            filled = mode.reconcile(draft, service, make)
            if filled is None:
                # The draft is full: the next plan goes on here, and looks at the places once it has room.
                self._put_off(service_id, parts, draft.now)
                return
            self._follow_update(draft.view, service, filled)
            places |= self._worth_a_look(draft.view, service, filled)
        update = self._updates.get(service_id)
        if update is not None and update.is_over(service):
            del self._updates[service_id]
        places = self._visit(draft, service, mode, places, make)
        if Part.GROWTH in parts and Part.WHOLE not in parts and not mode.grow(draft, service, make):
            self._put_off(service_id, {Part.WHOLE}, draft.now)
        update = self._updates.get(service_id)
        if update is not None:
            self._put((service_id, Part.UPDATE), update.look(draft, service, places, make))
        for place in sorted(places):
            updating = update is not None and update.holds(place) and not is_paused(service)
            self._put((service_id, place), self._supervisor.look(draft, service, place, make, updating=updating))

    def _visit(self, draft: Draft, service: api.Service, mode: Mode, places: set[Place], make: MakeTask) -> set[Place]:
        """Let the mode look at places. Return the places that the supervisor looks at next."""
        tended: set[Place] = set()
        for place in sorted(places):
            visit = mode.visit(draft, service, place, make)
            if visit is Visit.AGAIN:
                self._put_off(service.id, {place}, draft.now)
                continue
            if visit is Visit.LEAVE:
                self._agenda.drop((service.id, place))
            else:
                tended.add(place)
            update = self._updates.get(service.id)
            if update is not None and visit is Visit.LEAVE:
                update.forget(place)
            elif update is not None and visit is Visit.KEEP:
                update.begin_nothing(draft.view, service, place)
            elif place.node_id and visit is Visit.TEND and not is_job(service):
                # The node may have been out of reach while the spec changed, and still run the old one.
                if update is not None:
                    update.add(draft.view, service, place, occupants(tasks_in(draft.view, service, place), service))
                else:
                    renew(draft, service, place, make)
        return tended

    def _abandon(self, draft: Draft, service_id: str) -> None:
        """Have the tasks of a removed service removed."""
        self._updates.pop(service_id, None)
        for mode in self._modes.values():
            mode.forget(service_id)
        if not draft.set_all_desired(draft.view.tasks.find("service_id", service_id), api.REMOVE):
            self._agenda.put((service_id, Part.WHOLE), draft.now)

    def _worth_a_look(self, view: View, service: api.Service, filled: Places) -> set[Place]:
        if service.id in self._updates:
            return set(filled)
        return {
            place
            for place, tasks in filled.items()
            if len(tasks) > 1 or any(needs_look(view, service, task) for task in tasks)
        }

    def _follow_update(self, view: View, service: api.Service, filled: Places) -> None:
        if is_job(service):
            return  # A job has no rolling update: an update runs it again.
        update = self._updates.get(service.id)
        if update is not None and update.is_for(service):
            update.keep_only(filled)
            if not update.is_over(service):
                for place, tasks in filled.items():
                    update.add(view, service, place, tasks)
            return
        fresh = Update(view, service, filled)
        if fresh.is_over(service):
            self._updates.pop(service.id, None)
        else:
            self._updates[service.id] = fresh

    def _maker(self, draft: Draft) -> MakeTask:
        cluster = next(iter(draft.view.clusters.all()), None)
        return lambda service, place: new_task(self._ids(), service, place, draft.now, cluster)

    def _put_off(self, service_id: str, parts: Iterable[Place | Part], now: float) -> None:
        for what in parts:
            self._agenda.put((service_id, what), now)

    def _put(self, key: Key, at: float | None) -> None:
        if at is None:
            self._agenda.drop(key)
        else:
            self._agenda.put(key, at)


def _all_keys(view: View) -> dict[Key, None]:
    keys: dict[Key, None] = {(service.id, Part.WHOLE): None for service in view.services.all()}
    for task in view.tasks.all():
        if task.service_id and view.services.get(task.service_id) is None:
            keys[task.service_id, Part.WHOLE] = None
    return keys


def _keys_of(view: View, events: Iterable[Event]) -> dict[Key, None]:
    keys: dict[Key, None] = {}
    nodes: dict[str, None] = {}
    for event in events:
        obj = event.obj
        if isinstance(obj, api.Service):
            keys[obj.id, Part.GROWTH if asks_for_more_alone(event) else Part.WHOLE] = None
        elif isinstance(obj, api.Task):
            if _is_on_its_way(event):
                continue
            _add_place(keys, view, obj, lost=event.action == "remove" and obj.desired_state <= api.COMPLETE)
        elif isinstance(obj, api.Node) and may_matter(event):
            nodes[obj.id] = None
    if nodes:
        by_node = [service.id for service in view.services.all() if is_by_node(service)]
        keys.update({(service_id, Place(node_id=node_id)): None for node_id in nodes for service_id in by_node})
    for node_id in nodes:
        lost = is_lost(view.nodes.get(node_id))
        for task in view.tasks.find("node_id", node_id):
            # On a lost node, a replacement may wait for the task. On another node, the task may be moving start-first.
            if task.status.state <= api.RUNNING and (lost or moves_start_first(view.services.get(task.service_id))):
                _add_place(keys, view, task, lost=False)
    return keys


def _is_on_its_way(event: Event) -> bool:
    """Return whether a task's node only told of a state before RUNNING. Nothing here waits for one of these."""
    new, old = event.obj, event.old
    if event.action != "update" or not isinstance(new, api.Task) or not isinstance(old, api.Task):
        return False
    before, after = old.status.state, new.status.state
    return api.ASSIGNED <= before < after < api.RUNNING and old.desired_state == new.desired_state


def _add_place(keys: dict[Key, None], view: View, task: api.Task, *, lost: bool) -> None:
    """Add the place of a task; the whole service if the task is `lost` or its service was removed."""
    if not task.service_id:
        return
    service = view.services.get(task.service_id)
    if service is not None:
        keys[task.service_id, Part.WHOLE if lost else place_of(service, task)] = None
    elif task.desired_state < api.REMOVE:
        keys[task.service_id, Part.WHOLE] = None
