"""Which tasks must leave a node that changed."""

from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.manager.orchestrator.enforcer import Enforcer
from shoal.store.changes import Object
from tests.unit.manager.builders import Bench, decide, node, service, task, told


def constrained(made: api.Service) -> None:
    made.spec.task.placement.constraints.append("node.labels.disk==ssd")


def test_a_label_that_goes_takes_the_services_tasks_with_it() -> None:
    objects: list[Object] = [
        service(change=constrained),
        service("db"),
        task("web.1", node="a"),
        task("web.2", api.COMPLETE, node="a"),
        task("web.3", desired=api.SHUTDOWN, node="a"),
        task("db.1", node="a"),
    ]
    bench = Bench(Enforcer(), [node("a", labels={"disk": "ssd"}), *objects])
    assert bench.step() == []
    bench.change(node("a"))
    assert bench.step() == ["update web.1 on a rejected -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    assert found.status.message == "task rejected by constraint enforcer"
    assert found.status.err == "assigned node no longer meets constraints"
    assert bench.step() == []


def test_the_services_present_placement_counts_not_the_tasks() -> None:
    """Known fault 68."""
    old = task("web.1", node="a")
    old.spec.placement.constraints.append("node.labels.disk==ssd")
    assert told(decide(Enforcer(), [node("a"), service(), old])) == []
    assert told(decide(Enforcer(), [node("a"), old])) == ["update web.1 on a rejected -> running"]


def test_a_node_that_shrank_keeps_what_fits() -> None:
    tasks = [task(f"web.{slot}", node="a") for slot in (1, 2)]
    for one in tasks:
        one.spec.resources.reservations.memory_bytes = 60
    small = node("a")
    small.description.resources.memory_bytes = 100
    assert told(decide(Enforcer(), [small, *tasks])) == ["update web.2 on a rejected -> running"]


def test_named_resources_that_vanish_take_their_task() -> None:
    made = task("web.1", node="a")
    spec = made.assigned_generic_resources.add().named_resource_spec
    spec.kind, spec.value = "gpu", "x"
    assert told(decide(Enforcer(), [node("a"), made])) == ["update web.1 on a rejected -> running"]


def test_paused_and_drained_nodes_are_left_to_others() -> None:
    for availability in (api.NodeSpec.PAUSE, api.NodeSpec.DRAIN):
        changed = node("a")
        changed.spec.availability = availability
        assert told(decide(Enforcer(), [changed, service(change=constrained), task("web.1", node="a")])) == []


def test_a_task_that_its_node_has_not_got_yet_is_the_schedulers() -> None:
    waiting = task("web.0", api.PENDING, node="a")
    assert told(decide(Enforcer(), [node("a"), service(change=constrained), waiting])) == []


def fitting() -> api.Node:
    made = node("a", labels={"disk": "ssd"})
    made.description.engine.labels["rack"] = "1"
    made.description.platform.MergeFrom(api.Platform(os="linux", architecture="x86_64"))
    made.description.resources.MergeFrom(api.Resources(nano_cpus=100, memory_bytes=100))
    made.description.resources.generic.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=2)
    )
    made.status.addr = "10.0.0.1"
    made.role = api.MANAGER
    return made


def relabel(made: api.Node) -> None:
    made.spec.annotations.labels["disk"] = "hdd"


def relabel_engine(made: api.Node) -> None:
    del made.description.engine.labels["rack"]


def rename(made: api.Node) -> None:
    made.description.hostname = "b"


def demote(made: api.Node) -> None:
    made.role = api.WORKER


def move(made: api.Node) -> None:
    made.status.addr = "10.0.1.1"


def change_system(made: api.Node) -> None:
    made.description.platform.os = "windows"


def take_cpus(made: api.Node) -> None:
    made.description.resources.nano_cpus = 50


def take_memory(made: api.Node) -> None:
    made.description.resources.memory_bytes = 50


def take_a_gpu(made: api.Node) -> None:
    made.description.resources.generic[0].discrete_resource_spec.value = 1


def renew_certificate(made: api.Node) -> None:
    made.certificate.certificate = b"new"


def add_a_label(made: api.Node) -> None:
    made.spec.annotations.labels["other"] = "x"


CHANGES: list[tuple[Callable[[api.Node], None], bool]] = [
    (relabel, True),
    (relabel_engine, True),
    (rename, True),
    (demote, True),
    (move, True),
    (change_system, True),
    (take_cpus, True),
    (take_memory, True),
    (take_a_gpu, True),
    (renew_certificate, False),
    (add_a_label, False),
]


@pytest.mark.parametrize(("change", "leaves"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_task_leaves_what_it_no_longer_fits_and_nothing_else(
    change: Callable[[api.Node], None], leaves: bool
) -> None:
    def ask(made: api.Service) -> None:
        made.spec.task.placement.constraints.extend(
            [
                "node.labels.disk==ssd",
                "engine.labels.rack==1",
                "node.hostname==a",
                "node.role==manager",
                "node.ip==10.0.0.0/24",
                "node.platform.os==linux",
            ]
        )
        made.spec.task.resources.reservations.MergeFrom(api.Resources(nano_cpus=60, memory_bytes=60))

    web = service(change=ask)
    there = task("web.1", node="a", of=web)
    there.assigned_generic_resources.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=2)
    )
    bench = Bench(Enforcer(), [fitting(), web, there])
    assert bench.step() == []
    changed = fitting()
    change(changed)
    bench.change(changed)
    assert bench.step() == (["update web.1 on a rejected -> running"] if leaves else [])


def test_a_node_that_changed_while_it_was_paused_is_looked_at_when_it_is_active() -> None:
    bench = Bench(Enforcer(), [node("a", labels={"disk": "ssd"}), service(change=constrained), task("web.1", node="a")])
    assert bench.step() == []
    for availability, told_then in (
        (api.NodeSpec.PAUSE, []),
        (api.NodeSpec.ACTIVE, ["update web.1 on a rejected -> running"]),
    ):
        changed = node("a")
        changed.spec.availability = availability
        bench.change(changed)
        assert bench.step() == told_then


def test_what_a_service_asks_for_now_decides_and_not_what_its_tasks_were_made_of() -> None:
    """Known fault 68: a label changed, and tasks were moved for a constraint that the service no longer has."""
    old = service(change=constrained)
    there = task("web.1", node="a", of=old)
    bench = Bench(Enforcer(), [node("a", labels={"disk": "ssd"}), service(), there])
    assert bench.step() == []
    bench.change(node("a"))
    assert bench.step() == []
