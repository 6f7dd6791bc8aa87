"""The order in which nodes are offered."""

from shoal.api import v1 as api
from shoal.manager.scheduler.nodes import NodeInfo, NodeSet
from shoal.manager.scheduler.ranking import rank
from tests.unit.manager.builders import node, task


def known(nodes: list[api.Node], tasks: list[api.Task]) -> NodeSet:
    made = NodeSet()
    for one in nodes:
        made.put_node(one)
    for one_task in tasks:
        made.hold(one_task)
    return made


def place(nodes: NodeSet, count: int, *, bad: dict[str, int] | None = None, spread: tuple[str, ...] = ()) -> list[str]:
    """Place tasks of `web` one by one, and return where they went."""
    preferences = [api.PlacementPreference(spread=api.SpreadOver(spread_descriptor=one)) for one in spread]
    ranking = rank(nodes, "web", bad or {}, preferences)
    places: list[str] = []

    def passes(info: NodeInfo) -> bool:
        return info.is_ready

    for number in range(count):
        taken = ranking.take(passes)
        if taken is None:
            break
        info, pool = taken
        nodes.hold(task(f"web.{100 + number}", node=info.node.id))
        pool.put_back(info)
        places.append(info.node.id)
    return places


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
