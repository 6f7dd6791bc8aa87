"""What a node has left."""

from shoal.api import v1 as api
from shoal.manager.scheduler.nodeinfo import NodeInfo, held_by
from tests.unit.manager.builders import node, task


def with_gpus(*values: str) -> api.Node:
    made = node("a")
    made.description.resources.nano_cpus = 10
    made.description.resources.memory_bytes = 100
    for value in values:
        made.description.resources.generic.add().named_resource_spec.MergeFrom(
            api.NamedGenericResource(kind="gpu", value=value)
        )
    return made


def greedy(name: str, gpu: str) -> api.Task:
    made = task(name, node="a")
    made.spec.resources.reservations.nano_cpus = 4
    made.spec.resources.reservations.memory_bytes = 30
    made.assigned_generic_resources.add().named_resource_spec.MergeFrom(api.NamedGenericResource(kind="gpu", value=gpu))
    made.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
    return made


def test_what_a_task_takes_is_given_back_whole() -> None:
    info = NodeInfo(with_gpus("x", "y"), {})
    info.take("web.1", held_by(greedy("web.1", "x")))
    assert (info.active, info.nano_cpus, info.memory_bytes) == (1, 6, 70)
    assert info.ports == {(api.PortConfig.TCP, 80): 1}
    assert info.generic.pick([("gpu", 1)])[0].named_resource_spec.value == "y"
    info.give_back("web.1")
    assert (info.active, info.nano_cpus, info.memory_bytes, info.ports) == (0, 10, 100, {})
    assert info.generic.has("gpu", 2)


def test_a_port_that_two_hold_is_free_when_both_are_gone() -> None:
    info = NodeInfo(node("a"), {})
    info.take("web.1", held_by(greedy("web.1", "x")))
    info.take("web.2", held_by(greedy("web.2", "y")))
    info.give_back("web.1")
    assert info.ports == {(api.PortConfig.TCP, 80): 1}


def test_a_node_that_is_made_anew_counts_the_tasks_that_it_has() -> None:
    info = NodeInfo(with_gpus("x"), {"web.1": held_by(greedy("web.1", "x"))})
    assert (info.active, info.nano_cpus) == (1, 6)
    assert not info.generic.has("gpu", 1)


def test_plugins_are_known_by_bare_names_too() -> None:
    assert NodeInfo(node("a"), {}).plugins is None
    there = node("a")
    there.description.engine.plugins.add(type="Volume", name="nfs:latest")
    assert NodeInfo(there, {}).plugins == frozenset({("Volume", "nfs:latest"), ("Volume", "nfs")})


def test_reading_a_node_leaves_it_as_it_was() -> None:
    there = api.Node(id="a")
    info = NodeInfo(there, {})
    assert info.plugins is None
    assert not info.generic.has("gpu", 1)
    assert there == api.Node(id="a")
