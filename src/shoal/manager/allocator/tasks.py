"""The decider that admits tasks: NEW -> PENDING, once everything a task needs has been allocated.

In: the view, the time, what changed. Out: a plan. So far tasks can only use networks of the node itself (bridge, host,
none), which need no address from the swarm. Control still refuses other networks and published ports. Source: SwarmKit
manager/allocator/network.go.
"""

from collections.abc import Sequence

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import copy
from shoal.store.memory import Event, View

MESSAGE = "pending task scheduling"


class Allocator:
    """Admits tasks. Remembers only the tasks for which a plan had no room."""

    name = "allocator"
    kinds: tuple[type, ...] = (api.Task,)

    def __init__(self) -> None:
        self._left_over: list[str] = []

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the admissions of all new tasks that are not to be removed."""
        if events is None:
            ids = [task.id for task in view.tasks.all() if task.status.state == api.NEW]
        else:
            ids = self._left_over + [event.obj.id for event in events if isinstance(event.obj, api.Task)]
        self._left_over = []
        draft = Draft(view, now)
        for task_id in dict.fromkeys(ids):
            task = view.tasks.get(task_id)
            # A task to be removed needs nothing: the reaper removes it as it is.
            if task is None or task.status.state != api.NEW or task.desired_state >= api.REMOVE:
                continue
            if draft.is_full:
                self._left_over.append(task_id)
                continue
            attachments = _attachments(view, task)
            if attachments is None:
                continue
            changed = copy(task)
            del changed.networks[:]
            changed.networks.extend(attachments)
            changed.status.state = api.PENDING
            changed.status.message = MESSAGE
            changed.status.timestamp.CopyFrom(timestamp(now))
            draft.update(changed)
        return Plan(draft.changes(), look_again_at=now if self._left_over else None)


def _attachments(view: View, task: api.Task) -> list[api.NetworkAttachment] | None:
    """Return the networks that a task is attached to. None while one of them is missing; the task then stays NEW."""
    found = []
    for wanted in task.spec.networks:
        network = view.networks.get(wanted.target)
        if network is None:
            return None
        found.append(
            api.NetworkAttachment(
                network=network, aliases=wanted.aliases, driver_attachment_opts=wanted.driver_attachment_opts
            )
        )
    return found
