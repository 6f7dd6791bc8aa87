"""Events of the swarm: changes in its store as Docker reports them, and changes of tasks, which Docker does not report.

In: a manager's watch. Out: two event buses. One is for nodes, services, networks, secrets and configs, the other for
tasks: there are many more of these, and they must not displace the others from the events kept for `since`.

An event of a task has the type `task` and the task's id. Its attributes are `name`, `service.id`, `service.name`,
`node.id`, `slot`, `state` and `desiredstate`. An update adds `state.old`, `state.new`, `desiredstate.old` and
`desiredstate.new` for what changed. `container.id` and `error` are there once the task has them.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from shoal.api import states, times
from shoal.api import v1 as api
from shoal.api.naming import enum_name, task_name
from shoal.errors import Unavailable
from shoal.host.events import Event, EventBus
from shoal.repeats import Repeats
from shoal.store.watch import WatchLagged

if TYPE_CHECKING:
    from shoal.engine.backend import SwarmNode

log = logging.getLogger(__name__)
_told = Repeats(log)

KINDS = (api.Node, api.Service, api.Network, api.Secret, api.Config, api.Task)

RETRY = 0.05  # seconds; after a manager's end, `wait_manager` may still return for a moment


def attributes(obj: Any, old: Any) -> dict[str, str]:
    """Return an event's attributes for an object. `old` is its value before an update, else None."""
    if isinstance(obj, api.Task):
        return _task_attributes(obj, old)
    name = obj.spec.annotations.name
    if isinstance(obj, api.Node):
        return {"name": name or obj.description.hostname, **(_node_changes(obj, old) if old is not None else {})}
    if isinstance(obj, api.Service):
        return {"name": name, **(_service_changes(obj, old) if old is not None else {})}
    return {"name": name}


def _pair(name: str, old: str, new: str) -> dict[str, str]:
    return {f"{name}.old": old, f"{name}.new": new} if old != new else {}


def _enum_pair(name: str, kind: Any, old: int, new: int) -> dict[str, str]:
    return _pair(name, enum_name(kind, old), enum_name(kind, new))


def _node_changes(node: api.Node, old: api.Node) -> dict[str, str]:
    availability, role, state = api.NodeSpec.Availability, api.NodeRole, api.NodeStatus.State
    return {
        **_enum_pair("availability", availability, old.spec.availability, node.spec.availability),
        **_enum_pair("role", role, old.role, node.role),
        **_enum_pair("state", state, old.status.state, node.status.state),
    }


def _service_changes(service: api.Service, old: api.Service) -> dict[str, str]:
    changes: dict[str, str] = {}
    image, before = service.spec.task.container.image, old.spec.task.container.image
    if image != before:
        changes |= {"image.old": before, "image.new": image}
    if service.spec.HasField("replicated") and old.spec.HasField("replicated"):
        changes |= _pair("replicas", str(old.spec.replicated.replicas), str(service.spec.replicated.replicas))
    if service.HasField("update_status"):
        kind, state = api.UpdateStatus.UpdateState, service.update_status.state
        if old.HasField("update_status"):
            changes |= _enum_pair("updatestate", kind, old.update_status.state, state)
        else:
            changes["updatestate.new"] = enum_name(kind, state)
    return changes


def _task_attributes(task: api.Task, old: api.Task | None) -> dict[str, str]:
    state, desired = states.name_of(task.status.state), states.name_of(task.desired_state)
    told = {
        "name": task_name(task),
        "service.id": task.service_id,
        "service.name": task.service_annotations.name,
        "node.id": task.node_id,
        "slot": str(task.slot),
        "state": state,
        "desiredstate": desired,
    }
    if old is not None:
        told |= _pair("state", states.name_of(old.status.state), state)
        told |= _pair("desiredstate", states.name_of(old.desired_state), desired)
    if task.status.container.container_id:
        told["container.id"] = task.status.container.container_id
    if task.status.err:
        told["error"] = task.status.err
    return told


def event(action: str, obj: Any, old: Any, now_nanos: int) -> Event:
    """Return the event for a change in the store."""
    if action == "create":
        at_nanos = _nanos(obj.meta.created_at)
    elif action == "update":
        at_nanos = _nanos(obj.meta.updated_at)
    else:
        at_nanos = now_nanos  # a removed object does not tell when it was removed
    told = attributes(obj, old if action == "update" else None)
    return Event(type(obj).__name__.lower(), action, obj.id, told, at_nanos, "swarm")


def _nanos(at: Any) -> int:
    return int(at.seconds * times.NANOS + at.nanos)


class SwarmEvents:
    """The two buses, and the loop that fills them while a manager runs here."""

    def __init__(self) -> None:
        self.objects = EventBus()
        self.tasks = EventBus()

    async def run(self, node: "SwarmNode") -> None:
        """Publish the swarm's events while a manager runs here, for the life of the daemon."""
        while True:
            await node.wait_manager()
            try:
                with node.watch(*KINDS) as watch:
                    while True:
                        await self._publish(watch)
            except Unavailable:
                await asyncio.sleep(RETRY)

    async def _publish(self, watch: Any) -> None:
        try:
            changes = await watch.next()
        except WatchLagged:
            log.warning("events of the swarm were lost: too many at once")
            return
        now_nanos = time.time_ns()
        for change in changes:
            bus = self.tasks if isinstance(change.obj, api.Task) else self.objects
            try:
                bus.publish(event(change.action, change.obj, change.old, now_nanos))
            except Exception:  # noqa: BLE001 - supervised: a strange object loses only its own event
                kind = type(change.obj).__name__
                _told.log(logging.ERROR, kind, "no event for %s %s", kind.lower(), change.obj.id, exc_info=True)
