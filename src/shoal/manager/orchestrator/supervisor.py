"""The supervisor of places: starts, restarts and replaces the task of a place, for services of every mode.

In: a draft, a service, one of its places. Out: changes in the draft, and when to look at the place again. `restart`
decides whether and when a task is replaced, `leaving` which tasks move start-first, and the mode which places there
are. Source: SwarmKit manager/orchestrator/restart/restart.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.states import is_dead
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator import restart
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.manager.orchestrator.leaving import is_leaving, keep_one, move, stop_twins
from shoal.manager.orchestrator.marks import Marks, read, write
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import (
    Place,
    has_completed,
    is_lost,
    meant_to_run,
    needs_replacing,
    of_this_run,
    place_of,
    tasks_in,
)
from shoal.manager.orchestrator.update import stop_outdated
from shoal.store.memory import View

if TYPE_CHECKING:
    from random import Random


def needs_look(view: View, service: api.Service, task: api.Task) -> bool:
    """Return whether the supervisor has something to do for a task that is meant to run."""
    return task.desired_state < api.RUNNING or needs_replacing(view, task) or is_leaving(view, service, task)


class Supervisor:
    """Looks after one place at a time and remembers nothing about it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def look(self, draft: Draft, service: api.Service, place: Place, make: MakeTask, *, updating: bool) -> float | None:
        """Replace ended tasks of a place, start tasks that have waited long enough. Return when to look again.

        `updating`: an update works on this place, so outdated tasks and twins are left to it.
        """
        tasks = of_this_run(service, tasks_in(draft.view, service, place))
        live = meant_to_run(tasks)
        if len(tasks) == 1 and not (live and needs_look(draft.view, service, live[0])):
            return None  # Most places, most of the time: one task, on its way or running.
        if draft.is_full:
            return draft.now if any(needs_look(draft.view, service, task) for task in live) else None
        if any(draft.touches(task.id) for task in live) or draft.fills(service.id, place):
            return None  # These changes come back as events.
        if not updating and (stop_outdated(draft, service, live) or stop_twins(draft, service, live)):
            return None  # An update ended while an old task still ran, because the new one had failed.
        look_at: list[float] = []
        is_replaced = False
        leaving = [task for task in live if is_leaving(draft.view, service, task, updating=updating)]
        others = [task for task in live if task not in leaving]
        is_done = any(has_completed(task) for task in tasks)
        for task in others:
            if has_completed(task):
                continue
            if is_done:
                # Made for a task that was given up too early, as its node was down for a moment.
                draft.set_desired(task, api.SHUTDOWN)
                continue
            node = draft.view.nodes.get(task.node_id) if task.node_id else None
            if not is_dead(task) and not (task.node_id and is_lost(node)):
                look_at += _start_if_due(draft, task)
            elif task.desired_state < api.RUNNING and read(task).start_at > draft.now:
                # Its own delay is not over: replacing it now would loop quickly when an image cannot be pulled.
                look_at.append(read(task).start_at)
            else:
                draft.set_desired(task, api.SHUTDOWN)
                filled = is_replaced or _is_filled_without(draft.view, service, task, others)
                if not filled and restart.is_wanted(task, tasks):
                    look_at += self._replace(draft, service, task, node, make)
                    is_replaced = True
        for task in keep_one(draft, leaving):
            look_at += move(draft, service, task, others=others, tasks=tasks, make=make)
        return min(look_at, default=None)

    def _replace(
        self, draft: Draft, service: api.Service, task: api.Task, node: api.Node | None, make: MakeTask
    ) -> list[float]:
        """Create the replacement of a task that ended or lost its node. Return when to look again."""
        failures = restart.failures_in_a_row(task) if task.spec_version == service.spec_version else 0
        delay = restart.delay_before(task, node, failures, self._rng)
        made = make(service, place_of(service, task))
        waits_for = "" if restart.has_stopped(task, node) else task.id
        write(made, Marks(replaces=waits_for, start_at=draft.now + delay, failures=failures))
        if delay or waits_for:
            made.desired_state = api.READY
        draft.create(made)
        if delay:
            return [read(made).start_at]  # as stored; rounding may make it differ from `now + delay`
        return [draft.now + restart.OLD_TASK_TIMEOUT] if waits_for else []


def _start_if_due(draft: Draft, task: api.Task) -> list[float]:
    """Let a waiting replacement run if it may start. Otherwise return when to look again."""
    if task.desired_state >= api.RUNNING:
        return []
    marks = read(task)
    old = draft.view.tasks.get(marks.replaces) if marks.replaces else None
    old_node = draft.view.nodes.get(old.node_id) if old is not None else None
    at = restart.start_time(task, marks, old, old_node, draft.now)
    if at > draft.now:
        return [at]
    draft.set_desired(task, api.COMPLETE if task.HasField("job_iteration") else api.RUNNING)
    return []


def _is_filled_without(view: View, service: api.Service, task: api.Task, staying: list[api.Task]) -> bool:
    """Return whether another task stays in the place, so that `task` needs no replacement."""

    def is_outdated(one: api.Task) -> bool:
        return is_dirty(service, one, view.nodes.get(one.node_id) if one.node_id else None)

    others = [one for one in staying if one is not task and not needs_replacing(view, one)]
    if not others:
        return False
    # In a start-first update the old task still runs, but a failed new task must be tried again.
    return is_outdated(task) or not all(is_outdated(one) for one in others)
