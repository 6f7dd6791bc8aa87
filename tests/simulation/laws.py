"""Laws that hold in every swarm at every moment, and what a swarm at rest must look like.

Input: a view of the store, and the changes. Output: what is wrong, in words, or None.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from shoal.api import v1 as api
from shoal.api.states import MOVES, NAMES, is_dead
from shoal.api.times import instant
from shoal.manager.orchestrator.by_node import Fit, Reach
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.manager.orchestrator.marks import read
from shoal.manager.orchestrator.places import Place, is_by_node, is_job, is_lost, of_this_run, place_of, tasks_in
from shoal.manager.scheduler.demand import host_ports
from shoal.store.changes import Event
from shoal.store.memory import View

START_FIRST = api.UpdateConfig.START_FIRST
# Two moves in one commit: a task of an older spec is placed where its service, as it is now, may not be.
AT_ONCE = (api.PENDING, api.REJECTED)
UNDER_WAY = (api.UpdateStatus.UPDATING, api.UpdateStatus.ROLLBACK_STARTED)
PAUSED = (api.UpdateStatus.PAUSED, api.UpdateStatus.ROLLBACK_PAUSED)


def broken(view: View, events: Iterable[Event]) -> Iterator[str]:
    """Return the law that a commit has broken."""
    places: dict[tuple[str, Place], None] = {}
    nodes: dict[str, None] = {}
    events = list(events)
    for event in events:
        if isinstance(event.obj, api.Task):
            yield from _wrong_move(view, event)
            service = view.services.get(event.obj.service_id)
            if service is not None:
                places[service.id, place_of(service, event.obj)] = None
            nodes[event.obj.node_id] = None
    for service_id, place in places:
        yield from _crowded_place(view, service_id, place)
    for service_id in dict.fromkeys(filter(None, map(_begun_by_update, events))):
        yield from _too_much_in_motion(view, service_id)
    for node_id in nodes:
        yield from _overcommitted(view, node_id)


def is_alive(task: api.Task) -> bool:
    """Return whether something of the task may be on a node, or is about to be."""
    return not is_dead(task)


def is_on_a_node(task: api.Task) -> bool:
    return api.ASSIGNED <= task.status.state <= api.RUNNING


def _wrong_move(view: View, event: Event) -> Iterator[str]:
    new, old = event.obj, event.old
    assert isinstance(new, api.Task)
    if event.action == "remove":
        if is_on_a_node(new):
            yield f"a task was forgotten while it may run: {new.id}"
        return
    if not isinstance(old, api.Task):
        return
    before, after = old.status.state, new.status.state
    if before != after and (before, after) not in (*MOVES, AT_ONCE):
        yield f"{new.id} moved from {NAMES[before]} to {NAMES[after]}"
    if old.desired_state > new.desired_state:
        yield f"{new.id}: desired state fell"
    if old.node_id and old.node_id != new.node_id:
        yield f"{new.id} changed its node"
    if (before, after) == (api.PENDING, api.ASSIGNED):
        yield from _placed_too_many(view, new)
        yield from _given_other_than_asked(new)


def _placed_too_many(view: View, task: api.Task) -> Iterator[str]:
    limit = task.spec.placement.max_replicas
    on_node = [
        one
        for one in view.tasks.find("node_id", task.node_id)
        if one.service_id == task.service_id
        and is_on_a_node(one)
        and one.desired_state <= api.COMPLETE
        # A task of another spec without a limit may have come after this one in the same plan.
        and one.spec_version.index == task.spec_version.index
    ]
    if limit and len(on_node) > limit:
        yield f"{task.id} was placed on {task.node_id} as number {len(on_node)} of {limit}"


def _given_other_than_asked(task: api.Task) -> Iterator[str]:
    wanted = {one.discrete_resource_spec.kind: one.discrete_resource_spec.value for one in _reserved(task).generic}
    values, counts = given([task])
    if Counter(kind for kind, _ in values) + counts != +Counter(wanted):
        yield f"{task.id} was given {values} and {counts}, and not {wanted}"


def given(tasks: Iterable[api.Task]) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Return the generic resources that tasks were given: kind and value of the named ones, and counts by kind."""
    values: list[tuple[str, str]] = []
    counts: Counter[str] = Counter()
    for task in tasks:
        for one in task.assigned_generic_resources:
            if one.HasField("named_resource_spec"):
                values.append((one.named_resource_spec.kind, one.named_resource_spec.value))
            else:
                counts[one.discrete_resource_spec.kind] += one.discrete_resource_spec.value
    return values, counts


def _reserved(task: api.Task) -> api.Resources:
    return task.spec.resources.reservations


def _crowded_place(view: View, service_id: str, place: Place) -> Iterator[str]:
    service = view.services.get(service_id)
    assert service is not None
    meant = [
        task
        for task in of_this_run(service, tasks_in(view, service, place))
        if task.desired_state <= api.COMPLETE and is_alive(task)
    ]
    start_first = START_FIRST in (service.spec.update.order, service.spec.rollback.order)
    in_pairs = not is_job(service) and (start_first or service.HasField("update_status"))
    if len(meant) > (2 if in_pairs else 1):
        yield f"{service_id} has {len(meant)} tasks in {place}"


def _begun_by_update(event: Event) -> str:
    """Return the id of a service if its update has made a task, else ""."""
    is_made = event.action == "create" and isinstance(event.obj, api.Task) and read(event.obj).by_update
    return event.obj.service_id if is_made and isinstance(event.obj, api.Task) else ""


def _too_much_in_motion(view: View, service_id: str) -> Iterator[str]:
    service = view.services.get(service_id)
    if service is None:
        return
    if service.update_status.state not in UNDER_WAY:
        return
    is_rollback = service.update_status.state == api.UpdateStatus.ROLLBACK_STARTED
    config = service.spec.rollback if is_rollback else service.spec.update
    begun = {
        place_of(service, task)
        for task in view.tasks.find("service_id", service_id)
        if task.spec_version == service.spec_version
        and task.status.state < api.RUNNING
        and task.desired_state <= api.RUNNING
        and read(task).by_update
        and read(task).start_at >= instant(service.update_status.started_at) - 1e-5
        and not _waits_for_its_node(view, task)
    }
    if config.parallelism and len(begun) > config.parallelism:
        yield f"{len(begun)} places of {service_id} are in motion: {sorted(begun)}"


def _waits_for_its_node(view: View, task: api.Task) -> bool:
    """Return whether a task came with a node that takes no tasks now; an update does not wait for it."""
    node = view.nodes.get(task.node_id)
    return task.status.state < api.ASSIGNED and node is not None and node.spec.availability != api.NodeSpec.ACTIVE


def _overcommitted(view: View, node_id: str) -> Iterator[str]:
    node = view.nodes.get(node_id)
    if node is None:
        return
    there = [task for task in view.tasks.find("node_id", node_id) if is_on_a_node(task)]
    reserved = [_reserved(task) for task in there]
    if sum(one.nano_cpus for one in reserved) > node.description.resources.nano_cpus:
        yield f"more CPU is reserved on {node_id} than it has"
    if sum(one.memory_bytes for one in reserved) > node.description.resources.memory_bytes:
        yield f"more memory is reserved on {node_id} than it has"
    yield from _given_twice(node, there)


def _given_twice(node: api.Node, there: list[api.Task]) -> Iterator[str]:
    """Check generic resources and ports of the host: nothing is given to two tasks, or without the node having it."""
    values, counts = given(there)
    offered = api.Task(assigned_generic_resources=node.description.resources.generic)
    offered_values, offered_counts = given([offered])
    for value, times in Counter(values).items():
        if times > offered_values.count(value):
            yield f"{value} of {node.id} was given {times} times"
    for kind, count in counts.items():
        if count > offered_counts[kind]:
            yield f"{count} {kind} of {node.id} were given, and it has {offered_counts[kind]}"
    for port, times in Counter(port for task in there for port in host_ports(task)).items():
        if times > 1:
            yield f"port {port} of {node.id} was given {times} times"


# -- at rest ----------------------------------------------------------------------------------------------------------


def amiss(view: View, service: api.Service) -> Iterator[str]:
    """Return how a service differs from one that has all it asks for, on nodes that it may use, and nothing else."""
    if service.update_status.state in UNDER_WAY and not is_job(service):
        yield "its update is not over"
    tasks = of_this_run(service, view.tasks.find("service_id", service.id))
    done = [task for task in tasks if task.status.state == api.COMPLETE and task.desired_state == api.COMPLETE]
    running = [task for task in tasks if (task.status.state, task.desired_state) == (api.RUNNING, api.RUNNING)]
    alive = [task for task in view.tasks.find("service_id", service.id) if is_alive(task)]
    settled = done if is_job(service) else running
    if len(alive) != (0 if is_job(service) else len(running)):
        yield f"{len(alive)} tasks are alive, {len(running)} run"
    places = sorted(place_of(service, task) for task in settled)
    wanted = sorted(_wanted_places(view, service, places))
    if places != wanted:
        yield f"the places {places} are filled, and not {wanted}"
    if is_job(service):
        return
    for task in running:
        node = view.nodes.get(task.node_id)
        if node is None or is_lost(node) or Fit(service).reach(node) not in (Reach.OPEN, Reach.PAUSED):
            yield f"{task.id} is on {task.node_id}, where it may not be"
        if service.update_status.state not in PAUSED and is_dirty(service, task, node):
            yield f"{task.id} is of an older spec"


def _wanted_places(view: View, service: api.Service, filled: list[Place]) -> list[Place]:
    if is_by_node(service):
        fit = Fit(service)
        return [Place(node_id=node.id) for node in view.nodes.all() if fit.reach(node) == Reach.OPEN]
    if is_job(service):
        return [Place(slot) for slot in range(service.spec.replicated_job.total_completions)]
    # The numbers of the slots do not matter: scaling down keeps those that run.
    slots = sorted({*filled})[: service.spec.replicated.replicas]
    missing = service.spec.replicated.replicas - len(slots)
    return slots + [Place(-number) for number in range(1, missing + 1)]
