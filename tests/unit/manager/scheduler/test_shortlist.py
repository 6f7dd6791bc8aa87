"""Nodes kept in order, however they change."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import NOTHING, Standing
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo
from shoal.manager.scheduler.shortlist import MAX_SHORTLISTS, Leaf, Shortlist, Shortlists
from tests.unit.manager.builders import node

SSD = Standing(constraints=("node.labels.disk==ssd",))


def info(name: str, tasks: int = 0, **labels: str) -> NodeInfo:
    held = {f"{name}.{number}": Held("web", name, True, 0, 0, (), ()) for number in range(tasks)}
    return NodeInfo(node(name, labels=labels), held)


def taken(leaf: Leaf) -> list[str]:
    """Take all out in order, and put them back."""
    found: list[NodeInfo] = []
    while (one := leaf.take()) is not None:
        found.append(one)
    for one in found:
        leaf.put(one)
    return [one.id for one in found]


def test_the_least_loaded_comes_first_also_after_it_gained_or_lost_tasks() -> None:
    infos = {one.id: one for one in (info("a", 1), info("b", 2), info("c", 3))}
    leaf = Leaf(infos, Random(1))
    leaf.fill(infos.values())
    assert taken(leaf) == ["a", "b", "c"]
    infos["a"].active = 5
    assert taken(leaf) == ["b", "c", "a"]
    infos["c"].active = 0
    leaf.lower(infos["c"])
    assert taken(leaf) == ["c", "b", "a"]
    leaf.discard("b")
    assert taken(leaf) == ["c", "a"]


def test_the_first_with_room_stays_where_it_is() -> None:
    infos = {one.id: one for one in (info("a", 1), info("b", 2), info("c", 3))}
    leaf = Leaf(infos, Random(1))
    leaf.fill(infos.values())
    found = leaf.first(lambda one: one.id != "a")
    assert found is infos["b"]
    found.active = 7
    assert taken(leaf) == ["a", "c", "b"]
    assert leaf.first(lambda one: False) is None
    assert taken(leaf) == ["a", "c", "b"]
    assert Leaf({}, Random(1)).first(lambda one: True) is None


def test_equals_come_in_random_order() -> None:
    infos = {name: info(name) for name in "abcdef"}
    leaf = Leaf(infos, Random(1))
    leaf.fill(infos.values())
    assert len({tuple(taken(leaf)) for _ in range(10)}) > 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3)), max_size=300))
def test_no_node_is_lost_or_offered_twice(steps: list[tuple[str, int]]) -> None:
    infos = {name: info(name) for name in "abc"}
    leaf = Leaf(infos, Random(1))
    leaf.fill(infos.values())
    for name, change in steps:
        infos[name].active = max(0, infos[name].active + change)
        if change < 0:
            leaf.lower(infos[name])
        elif change == 0:
            order = taken(leaf)
            assert sorted(order) == ["a", "b", "c"]
            loads = [infos[one].active for one in order]
            assert loads == sorted(loads)
    assert len(leaf._heap) <= 2 * 3 + 64  # outdated entries do not pile up


def test_a_list_has_the_nodes_that_satisfy_it_parted_by_label() -> None:
    infos = {
        one.id: one for one in (info("a", disk="ssd", zone="1"), info("b", disk="ssd", zone="2"), info("c", zone="1"))
    }
    shortlist = Shortlist(SSD, ("node.labels.zone",), infos, Random(1))
    assert {path: taken(leaf) for path, leaf in shortlist.leaves.items()} == {("1",): ["a"], ("2",): ["b"]}
    infos["c"] = info("c", disk="ssd", zone="2")
    shortlist.judge(infos["c"])
    infos["a"] = info("a", zone="1")
    shortlist.judge(infos["a"])
    assert {path: sorted(leaf.ids()) for path, leaf in shortlist.leaves.items() if leaf} == {("2",): ["b", "c"]}
    shortlist.drop("b")
    assert shortlist.leaf_of("b") is None


def test_a_node_that_is_not_ready_is_in_no_list() -> None:
    down = NodeInfo(node("down", api.NodeStatus.DOWN), {})
    assert Shortlist(NOTHING, (), {"down": down}, Random(1)).leaves == {}


def test_the_list_that_was_not_asked_for_longest_goes_when_there_are_too_many() -> None:
    infos = {"a": info("a")}
    lists = Shortlists(infos, Random(1))
    first, second = lists.get(NOTHING, ("x",)), lists.get(NOTHING, ("y",))
    for number in range(MAX_SHORTLISTS - 1):
        lists.get(NOTHING, (f"z{number}",))
        assert lists.get(NOTHING, ("x",)) is first
    assert lists.get(NOTHING, ("y",)) is not second


def test_a_value_that_no_node_has_any_more_has_no_leaf() -> None:
    infos = {"a": info("a", zone="x"), "b": info("b", zone="x")}
    shortlist = Shortlist(NOTHING, ("node.labels.zone",), infos, Random(1))
    for number in range(10):
        infos["a"] = info("a", zone=str(number))
        shortlist.judge(infos["a"])
    assert set(shortlist.leaves) == {("x",), ("9",)}
    shortlist.drop("b")
    assert set(shortlist.leaves) == {("9",)}
