"""Which tasks must leave a node that changed."""

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
