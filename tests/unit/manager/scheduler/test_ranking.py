"""The order in which nodes are offered."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import NOTHING
from shoal.manager.scheduler.nodeset import NodeSet
from shoal.manager.scheduler.ranking import Look, Ranking, descriptors_of
from tests.unit.manager.builders import node, task


def known(nodes: list[api.Node], tasks: list[api.Task]) -> NodeSet:
    made = NodeSet(Random(1))
    for one in nodes:
        made.put_node(one)
    for one_task in tasks:
        made.hold(one_task)
    return made


def place(nodes: NodeSet, count: int, *, bad: dict[str, int] | None = None, spread: tuple[str, ...] = ()) -> list[str]:
    """Place tasks of `web` one by one, and return their nodes."""
    preferences = [api.PlacementPreference(spread=api.SpreadOver(spread_descriptor=one)) for one in spread]
    look = Look(nodes.infos, bad or {}, nodes.counts("web"), Random(1))
    places: list[str] = []
    with Ranking(nodes.shortlist(NOTHING, descriptors_of(preferences)), look) as ranking:
        for number in range(count):
            info = ranking.take(lambda info: info.ports == {})
            if info is None:
                break
            nodes.hold(task(f"web.{100 + number}", node=info.id))
            ranking.put_back(info)
            places.append(info.id)
    return places


def full(name: str) -> api.Task:
    """Return a task that takes a port, so that `place` finds no room for another one."""
    made = task("full.1", node=name)
    made.id = f"full on {name}"
    made.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
    return made


def test_nodes_with_fewer_tasks_of_the_service_come_first() -> None:
    nodes = known([node("a"), node("b"), node("c")], [task("web.1", node="a"), task("other.1", node="b")])
    assert place(nodes, 2) == ["c", "b"]


def test_fewer_tasks_in_all_break_the_tie() -> None:
    others = [task("other.1", node="a"), task("other.2", node="a"), task("other.3", node="b")]
    assert place(known([node("a"), node("b")], others), 2) == ["b", "a"]


def test_many_tasks_are_spread_evenly() -> None:
    places = place(known([node(name) for name in "abcd"], []), 10)
    assert sorted(places.count(name) for name in "abcd") == [2, 2, 3, 3]


def test_nodes_where_it_keeps_failing_go_last() -> None:
    nodes = known([node("a"), node("b")], [task("web.1", node="b")])
    assert place(nodes, 2, bad={"a": 5}) == ["b", "b"]


def test_tasks_told_to_stop_do_not_count() -> None:
    nodes = known([node("a"), node("b")], [task("web.1", desired=api.SHUTDOWN, node="a"), task("x.1", node="b")])
    assert place(nodes, 1) == ["a"]


def test_nodes_that_do_not_pass_are_left_out() -> None:
    nodes = known([node("a", api.NodeStatus.DOWN), node("b")], [])
    assert place(nodes, 2) == ["b", "b"]
    assert place(known([node("a", api.NodeStatus.DOWN)], []), 1) == []
    assert place(known([node("a"), node("b")], [full("a")]), 2) == ["b", "b"]


def test_branches_of_a_preference_are_kept_even() -> None:
    nodes = [node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"})]
    places = place(known([*nodes, node("none")], []), 6, spread=("node.labels.zone",))
    assert sorted(places) == ["a1", "a2", "b1", "b1", "none", "none"]


def test_preferences_nest() -> None:
    nodes = [
        node("a1", labels={"zone": "a", "rack": "1"}),
        node("a2", labels={"zone": "a", "rack": "2"}),
        node("b1", labels={"zone": "b", "rack": "1"}),
    ]
    places = place(known(nodes, []), 8, spread=("node.labels.zone", "node.labels.rack"))
    assert {name: places.count(name) for name in ("a1", "a2", "b1")} == {"a1": 2, "a2": 2, "b1": 4}


def test_an_unknown_preference_is_ignored() -> None:
    nodes = [node("a", labels={"zone": "a"}), node("b", labels={"zone": "b"})]
    assert sorted(place(known(nodes, []), 2, spread=("node.hostname",))) == ["a", "b"]


def test_a_full_branch_gives_its_share_to_the_others() -> None:
    nodes = [node("a", api.NodeStatus.DOWN, labels={"zone": "a"}), node("b", labels={"zone": "b"})]
    assert place(known(nodes, []), 3, spread=("node.labels.zone",)) == ["b", "b", "b"]


def test_equals_come_in_random_order() -> None:
    nodes = known([node(name) for name in "abcdef"], [])
    firsts = set()
    for _ in range(20):
        firsts.update(place(nodes, 1))
        nodes.release("web.100")
    assert len(firsts) > 1


@pytest.mark.parametrize("tasks", range(1, 8))
def test_a_service_that_is_on_most_nodes_fills_the_others_first(tasks: int) -> None:
    there = [task(f"web.{number}", node=f"n{number}") for number in range(tasks)]
    nodes = known([node(f"n{number}") for number in range(8)], there)
    assert sorted(place(nodes, 8 - tasks)) == [f"n{number}" for number in range(tasks, 8)]
    assert {info.active for info in nodes.infos.values()} == {1}


def test_what_was_borrowed_is_put_back() -> None:
    nodes = known([node(name) for name in "abc"], [full("a")])
    assert sorted(place(nodes, 2)) == ["b", "c"]
    nodes.release("full on a")
    # The node that had no room is offered to the next group.
    assert "a" in place(nodes, 3)


def test_tasks_on_nodes_without_room_count_for_their_branch() -> None:
    nodes = [node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"})]
    there = [task("web.1", node="a1"), task("web.2", node="a1"), full("a1")]
    assert place(known(nodes, there), 3, spread=("node.labels.zone",))[:2] == ["b1", "b1"]


labels = st.fixed_dictionaries({"zone": st.sampled_from("ab"), "rack": st.sampled_from("12")})


@settings(deadline=None)
@given(
    st.lists(st.tuples(labels, st.integers(0, 4), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([(), ("node.labels.zone",), ("node.labels.zone", "node.labels.rack")]),
    st.integers(0, 30),
)
def test_scheduling_ends_and_evens_out_whatever_it_starts_from(
    found: list[tuple[dict[str, str], int, bool]], spread: tuple[str, ...], count: int
) -> None:
    """Known fault 66: with one side full and an uneven start, the scheduler never ended."""
    nodes = [node(f"n{number}", labels=given) for number, (given, _, _) in enumerate(found)]
    tasks = [task(f"web.{n * 10 + k}", node=f"n{n}") for n, (_, there, _) in enumerate(found) for k in range(there)]
    tasks += [full(f"n{number}") for number, (_, _, is_full) in enumerate(found) if is_full]
    made = known(nodes, tasks)
    before = dict(made.counts("web"))
    places = place(made, count, spread=spread)
    open_nodes = [one.id for one, (_, _, is_full) in zip(nodes, found, strict=True) if not is_full]
    assert len(places) == (count if open_nodes else 0)
    assert set(places) <= set(open_nodes)
    if not spread:
        # No node got a task while another had fewer.
        after = made.counts("web")
        assert all(
            after.get(one, 0) <= max(before.get(one, 0), min(after.get(other, 0) for other in open_nodes) + 1)
            for one in open_nodes
        )
