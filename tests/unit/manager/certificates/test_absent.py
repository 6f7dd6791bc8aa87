import pytest

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.certificates.absent import MAX_REMOVED, PATIENCE, AbsentNodes
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Remove
from shoal.store.memory import Memory

NOW = 1_790_000_000.0


def node(node_id: str, age: float) -> api.Node:
    return api.Node(id=node_id, meta=api.Meta(created_at=timestamp(NOW - age)))


def test_a_node_that_never_came_goes_after_an_hour_and_not_before() -> None:
    view = Memory.of([node("old", PATIENCE), node("new", PATIENCE - 60)])
    plan = AbsentNodes().decide(view, NOW, None)
    assert plan == Plan((Remove(api.Node, "old"),), ("1 nodes joined and never came: they are forgotten",), NOW + 60)


@pytest.mark.parametrize("sign", ["description", "manager_status", "ready"])
def test_one_that_came_stays(sign: str) -> None:
    there = node("n", 10 * PATIENCE)
    if sign == "description":
        there.description.hostname = "host"
    elif sign == "manager_status":
        there.manager_status.raft_id = 7
    else:
        there.status.state = api.NodeStatus.READY
    assert AbsentNodes().decide(Memory.of([there]), NOW, None) == Plan()


def test_many_go_in_several_transactions() -> None:
    view = Memory.of([node(f"n{number:04}", 2 * PATIENCE) for number in range(MAX_REMOVED + 1)])
    plan = AbsentNodes().decide(view, NOW, None)
    assert len(plan.changes) == MAX_REMOVED
    assert plan.look_again_at == NOW
