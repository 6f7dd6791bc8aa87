"""What is known of nodes stays right however tasks come and go."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.scheduler.nodes import FAILURE_WINDOW, NodeSet
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
    loads = [info.node.id for info in nodes.by_load()]
    return infos, sorted(loads), {name: dict(nodes.counts(name)) for name in ("web", "db")}


moves = st.lists(
    st.tuples(
        st.sampled_from(["web.1", "web.2", "db.1"]),
        st.sampled_from(["a", "b", "gone"]),
        st.sampled_from([api.RUNNING, api.SHUTDOWN, None]),
    ),
    max_size=20,
)


@given(moves)
def test_changes_lead_where_a_fresh_start_would(steps: list[tuple[str, str, api.TaskState | None]]) -> None:
    nodes = NodeSet()
    nodes.put_node(offering("a"))
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
    fresh = NodeSet()
    fresh.put_node(offering("a"))
    fresh.put_node(offering("b"))
    for one in last.values():
        fresh.hold(one)
    assert facts(nodes) == facts(fresh)


def test_five_failures_within_five_minutes_make_a_bad_node() -> None:
    nodes = NodeSet()
    for number in range(5):
        nodes.note_failure(("web", 1), "a", f"web.{number}", 1000.0 + number)
        nodes.note_failure(("web", 1), "a", f"web.{number}", 1000.0 + number)
        assert nodes.bad_nodes(("web", 1), 1010.0) == ({"a": 5} if number == 4 else {})
    assert nodes.bad_nodes(("web", 2), 1010.0) == {}
    assert nodes.bad_nodes(("web", 1), 1000.0 + FAILURE_WINDOW + 1) == {}
    nodes.forget_old(1000.0 + 2 * FAILURE_WINDOW)
    assert nodes.bad_nodes(("web", 1), 1010.0) == {}
