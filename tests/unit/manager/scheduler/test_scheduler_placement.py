"""Placement as a whole, with one line for each case: which of three nodes takes a task, and what the task says once
that node is gone.

From tasks in the store to their node, or to the error that `docker service ps` shows.
"""

from collections.abc import Callable
from random import Random

import pytest

from shoal.api import v1 as api
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.store.changes import Object
from shoal.store.memory import Memory, Transaction
from tests.unit.manager.builders import NOW, node, task

Change = Callable[[api.Task], None]


def the_one() -> api.Node:
    """Return the node that has what the task asks for."""
    made = node("one", labels={"disk": "ssd"})
    made.status.addr = "10.0.0.1"
    made.role = api.MANAGER
    made.description.engine.labels["rack"] = "r1"
    made.description.engine.plugins.add(type="Network", name="weave")
    made.description.engine.plugins.add(type="Volume", name="nfs")
    made.description.platform.MergeFrom(api.Platform(os="linux", architecture="aarch64"))
    made.description.resources.MergeFrom(api.Resources(nano_cpus=2_000_000_000, memory_bytes=2 << 30))
    for value in ("uuid1", "uuid2"):
        made.description.resources.generic.add().named_resource_spec.MergeFrom(
            api.NamedGenericResource(kind="gpu", value=value)
        )
    made.description.resources.generic.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="slots", value=2)
    )
    return made


def another(name: str) -> api.Node:
    """Return a node that has less of everything."""
    made = node(name, labels={"disk": "hdd"})
    made.status.addr = "10.0.1.1"
    made.role = api.WORKER
    made.description.engine.labels["rack"] = "r2"
    made.description.engine.plugins.add(type="Network", name="other")
    made.description.platform.MergeFrom(api.Platform(os="windows", architecture="amd64"))
    made.description.resources.MergeFrom(api.Resources(nano_cpus=1_000_000_000, memory_bytes=1 << 30))
    return made


def constraint(*expressions: str) -> Change:
    return lambda made: made.spec.placement.constraints.extend(expressions)


def reserve(nano_cpus: int = 0, memory_bytes: int = 0) -> Change:
    wanted = api.Resources(nano_cpus=nano_cpus, memory_bytes=memory_bytes)
    return lambda made: made.spec.resources.reservations.MergeFrom(wanted)


def generic(kind: str, count: int) -> Change:
    def change(made: api.Task) -> None:
        made.spec.resources.reservations.generic.add().discrete_resource_spec.MergeFrom(
            api.DiscreteGenericResource(kind=kind, value=count)
        )

    return change


def platform(system: str, architecture: str) -> Change:
    return lambda made: made.spec.placement.platforms.append(api.Platform(os=system, architecture=architecture))


def network(driver: str) -> Change:
    def change(made: api.Task) -> None:
        made.networks.add().network.driver_state.name = driver

    return change


def volume(driver: str) -> Change:
    def change(made: api.Task) -> None:
        made.spec.container.mounts.add(type=api.Mount.VOLUME).volume_options.driver_config.name = driver

    return change


def decided(*objects: Object) -> api.Task:
    """Return the task as the scheduler leaves it."""
    memory = Memory.of(objects)
    transaction = Transaction(memory)
    transaction.apply(Scheduler(Random(1)).decide(memory, NOW, None).changes)
    (found,) = transaction.tasks.all()
    return found


CONSTRAINTS = "scheduling constraints not satisfied"
RESOURCES = "insufficient resources"
CASES: dict[str, tuple[Change, str]] = {
    "node.id": (constraint("node.id==one"), CONSTRAINTS),
    "node.id not": (constraint("node.id!=two", "node.id!=three"), CONSTRAINTS),
    "node.hostname": (constraint("node.hostname==ONE"), CONSTRAINTS),
    "node.hostname not": (constraint("node.hostname!=two", "node.hostname!=three"), CONSTRAINTS),
    "node.ip": (constraint("node.ip==10.0.0.1"), CONSTRAINTS),
    "node.ip not": (constraint("node.ip!=10.0.1.0/24"), CONSTRAINTS),
    "node.role": (constraint("node.role==manager"), CONSTRAINTS),
    "node.role not": (constraint("node.role!=worker"), CONSTRAINTS),
    "node.platform.os": (constraint("node.platform.os==linux"), CONSTRAINTS),
    "node.platform.os not": (constraint("node.platform.os!=windows"), CONSTRAINTS),
    "node.platform.arch": (constraint("node.platform.arch==aarch64"), CONSTRAINTS),
    "node.platform.arch not": (constraint("node.platform.arch!=amd64"), CONSTRAINTS),
    "node.labels": (constraint("node.labels.disk==ssd"), CONSTRAINTS),
    "node.labels not": (constraint("node.labels.disk!=hdd"), CONSTRAINTS),
    "engine.labels": (constraint("engine.labels.rack==r1"), CONSTRAINTS),
    "engine.labels not": (constraint("engine.labels.rack!=r2"), CONSTRAINTS),
    "CPU": (reserve(nano_cpus=1_500_000_000), RESOURCES),
    "memory": (reserve(memory_bytes=3 << 29), RESOURCES),
    "named resources": (generic("gpu", 2), RESOURCES),
    "counted resources": (generic("slots", 2), RESOURCES),
    "platform": (platform("linux", "arm64"), "unsupported platform"),
    "network plugin": (network("weave"), "missing plugin"),
    "volume plugin": (volume("nfs"), "missing plugin"),
}


@pytest.mark.parametrize(("ask", "reason"), CASES.values(), ids=CASES)
def test_a_task_goes_where_what_it_asks_for_is_or_says_that_it_is_nowhere(ask: Change, reason: str) -> None:
    waiting = task("web.1", api.PENDING)
    ask(waiting)
    others = [another("two"), another("three")]
    assert decided(the_one(), *others, waiting).node_id == "one"
    assert decided(*others, waiting).status.err == f"no suitable node ({reason} on 2 nodes)"


def test_many_reasons_stand_in_one_line() -> None:
    waiting = task("web.1", api.PENDING)
    constraint("node.labels.disk==ssd")(waiting)
    reserve(nano_cpus=1_500_000_000)(waiting)
    drained, large = node("drained"), another("large")
    drained.spec.availability = api.NodeSpec.DRAIN
    large.description.resources.nano_cpus = 4_000_000_000
    assert decided(another("two"), another("three"), large, drained, waiting).status.err == (
        "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks;"
        " scheduling constraints not satisfied on 1 node)"
    )
