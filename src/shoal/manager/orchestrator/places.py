"""Places. A place holds one task of a service at a time; it is a numbered slot of the service, or a node of the swarm.

In: a view, a service, its tasks; out: places, and the tasks that fill them. Restarts, updates and the reaper work on
places, whatever the mode of the service. Source: SwarmKit manager/orchestrator/slot.go (`SlotTuple`),
restart/restart.go (`UpdatableTasksInSlot`).
"""

from collections.abc import Iterable
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.api.states import is_dead
from shoal.manager.orchestrator import restart
from shoal.store.memory import View


class Place(NamedTuple):
    """A place of a service. The places of one service can be sorted: slots by number, nodes by id."""

    slot: int = 0
    node_id: str = ""  # empty when the place is a slot; its task may then be on any node


Places = dict[Place, list[api.Task]]

_BY_NODE = ("global", "global_job")
_JOBS = ("replicated_job", "global_job")


def is_by_node(service: api.Service) -> bool:
    """Return whether the places of a service are nodes."""
    return service.spec.WhichOneof("mode") in _BY_NODE


def is_job(service: api.Service) -> bool:
    """Return whether a service is a job: its tasks are meant to end."""
    return service.spec.WhichOneof("mode") in _JOBS


def place_of(service: api.Service, task: api.Task) -> Place:
    """Return the place of a task of the service."""
    return Place(node_id=task.node_id) if is_by_node(service) else Place(task.slot)


def tasks_in(view: View, service: api.Service, place: Place) -> list[api.Task]:
    """Return every task of a place: the one that is meant to run, and its history."""
    if place.node_id:
        return [task for task in view.tasks.find("node_id", place.node_id) if task.service_id == service.id]
    return view.tasks.find("slot", (service.id, place.slot))


def by_place(service: api.Service, tasks: Iterable[api.Task]) -> Places:
    """Return the tasks of a service by place, with the places sorted."""
    by_node = is_by_node(service)
    places: Places = {}
    for task in tasks:
        place = Place(node_id=task.node_id) if by_node else Place(task.slot)
        places.setdefault(place, []).append(task)
    return dict(sorted(places.items()))


def of_this_run(service: api.Service, tasks: Iterable[api.Task]) -> list[api.Task]:
    """Return a job's tasks of its present iteration; all tasks of another service."""
    if not is_job(service):
        return list(tasks)
    return [task for task in tasks if task.job_iteration.index == service.job_status.job_iteration.index]


def occupants(tasks: list[api.Task], service: api.Service) -> list[api.Task]:
    """Return the tasks that fill their place, empty when the place is free.

    A task of a job that has completed fills it as well, although it was told to stop: its node was down for a moment,
    say, and it had done its work before it heard. In a rollback the last one does not count: what the old spec had
    running comes back. (A job's rollback is a run of its own, and its status never ends.) Empty: the place is free.
    """
    meant = meant_to_run(tasks)
    done = [task for task in tasks if has_completed(task) and api.COMPLETE < task.desired_state < api.REMOVE]
    if done:
        return meant + done
    if meant or (service.update_status.state == api.UpdateStatus.ROLLBACK_STARTED and not is_job(service)):
        return meant
    ended = [task for task in tasks if task.desired_state < api.REMOVE]
    if not ended:
        return []
    newest = max(ended, key=restart.reported_at)
    return [] if restart.is_wanted(newest, tasks) else [newest]


def meant_to_run(tasks: Iterable[api.Task]) -> list[api.Task]:
    """Return the tasks that were not told to stop. A job's task stays among them after it has completed."""
    return [task for task in tasks if task.desired_state <= api.COMPLETE]


def has_completed(task: api.Task) -> bool:
    """Return whether the task belongs to a job and has completed."""
    return task.status.state == api.COMPLETE and task.HasField("job_iteration")


def is_lost(node: api.Node | None) -> bool:
    """Return whether tasks must leave a node: it is gone, DOWN or drained."""
    return node is None or node.status.state == api.NodeStatus.DOWN or node.spec.availability == api.NodeSpec.DRAIN


def needs_replacing(view: View, task: api.Task) -> bool:
    """Return whether a task has ended or must leave its node; a completed task of a job needs no replacing."""
    if has_completed(task):
        return False
    return is_dead(task) or bool(task.node_id and is_lost(view.nodes.get(task.node_id)))
