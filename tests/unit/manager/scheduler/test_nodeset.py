"""The counts of nodes stay right, however tasks come and go."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import NOTHING
from shoal.manager.scheduler.nodeinfo import NodeInfo
from shoal.manager.scheduler.nodeset import NodeSet
from shoal.manager.scheduler.shortlist import Leaf
from shoal.store.changes import copy
from tests.unit.manager.builders import node, task


def offering(name: str) -> api.Node:
    made = node(name)
    made.description.resources.memory_bytes = 100
    made.description.resources.generic.add().named_resource_spec.kind = "gpu"
    return made


def asking(name: str, on: str, desired: api.TaskState = api.RUNNING) -> api.Task:
    made = task(name, desired=desired, node=on)
    made.spec.resources.reservations.memory_bytes = 10
    return made


def facts(nodes: NodeSet) -> object:
    infos = {name: (info.active, info.memory_bytes, info.is_ready) for name, info in nodes.infos.items()}
    leaves = nodes.shortlist(NOTHING, ()).leaves
    loads = [(info.active, info.id) for leaf in leaves.values() for info in all_of(leaf)]
    assert [load for load, _ in loads] == sorted(load for load, _ in loads)
    return infos, sorted(loads), {name: dict(nodes.counts(name)) for name in ("web", "db")}


def all_of(leaf: Leaf) -> list[NodeInfo]:
    """Take out all nodes of a leaf, and put them back."""
    found: list[NodeInfo] = []
    while (info := leaf.take()) is not None:
        found.append(info)
    for info in found:
        leaf.put(info)
    return found


moves = st.lists(
    st.tuples(
        st.sampled_from(["web.1", "web.2", "db.1"]),
        st.sampled_from(["a", "b", "gone"]),
        st.sampled_from([api.RUNNING, api.SHUTDOWN, None]),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(moves)
def test_changes_lead_where_a_fresh_start_would(steps: list[tuple[str, str, api.TaskState | None]]) -> None:
    nodes = NodeSet(Random(1))
    nodes.put_node(offering("a"))
    nodes.shortlist(NOTHING, ())
    last: dict[str, api.Task] = {}
    for name, on, desired in steps:
        if desired is None:
            nodes.release(name)
            last.pop(name, None)
        else:
            last[name] = asking(name, on, desired)
            nodes.hold(last[name])
            nodes.hold(last[name])
    nodes.put_node(offering("b"))
    fresh = NodeSet(Random(1))
    fresh.put_node(offering("a"))
    fresh.put_node(offering("b"))
    for one in last.values():
        fresh.hold(one)
    assert facts(nodes) == facts(fresh)


def test_only_what_tasks_ask_for_makes_a_node_another_one() -> None:
    nodes = NodeSet(Random(1))
    there = offering("a")
    assert nodes.put_node(there)
    renewed = copy(there)
    renewed.certificate.certificate = b"new"
    assert not nodes.put_node(renewed)
    assert nodes.infos["a"].node is renewed
    relabelled = copy(there)
    relabelled.spec.annotations.labels["disk"] = "ssd"
    assert nodes.put_node(relabelled)


def test_tasks_without_a_service_have_nothing_in_common() -> None:
    nodes = NodeSet(Random(1))
    nodes.put_node(offering("a"))
    nodes.hold(api.Task(id="alone", node_id="a", desired_state=api.RUNNING))
    assert nodes.counts("") == {}
    assert nodes.infos["a"].active == 1
