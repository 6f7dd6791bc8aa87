from shoal.api import v1 as api
from shoal.manager.deciding.plan import Plan
from shoal.manager.membership.roles import RoleManager
from shoal.store.changes import Event, Update
from shoal.store.memory import Memory


def node(node_id: str, role: api.NodeRole, wanted: api.NodeRole) -> api.Node:
    return api.Node(id=node_id, role=role, spec=api.NodeSpec(desired_role=wanted))


def test_promotion_holds_at_once() -> None:
    plan = RoleManager(lambda: {"a"}).decide(
        Memory.of([node("a", api.WORKER, api.MANAGER), node("b", api.WORKER, api.WORKER)]), 0.0, None
    )
    assert plan == Plan((Update(node("a", api.MANAGER, api.MANAGER)),), ("node a is now a manager",))


def test_demotion_waits_until_the_manager_has_left_the_quorum() -> None:
    members = {"a", "b"}
    roles = RoleManager(lambda: members)
    view = Memory.of([node("b", api.MANAGER, api.WORKER)])
    assert roles.decide(view, 0.0, None) == Plan(look_again_at=5.0)
    assert roles.decide(view, 5.0, []) == Plan(look_again_at=10.0)
    members.discard("b")
    assert roles.decide(view, 10.0, []) == Plan(
        (Update(node("b", api.WORKER, api.WORKER)),), ("node b is now a worker",)
    )


def test_only_nodes_that_changed_are_looked_at() -> None:
    roles = RoleManager(lambda: set[str]())
    first, second = node("a", api.WORKER, api.WORKER), node("b", api.WORKER, api.WORKER)
    roles.decide(Memory.of([first, second]), 0.0, None)
    view = Memory.of([node("a", api.WORKER, api.MANAGER), node("b", api.WORKER, api.MANAGER)])
    plan = roles.decide(view, 1.0, [Event("update", second, second)])
    assert [change.obj.id for change in plan.changes if isinstance(change, Update)] == ["b"]


def test_node_that_is_gone_is_waited_for_no_more() -> None:
    roles = RoleManager(lambda: {"b"})
    gone = node("b", api.MANAGER, api.WORKER)
    roles.decide(Memory.of([gone]), 0.0, None)
    assert roles.decide(Memory(), 1.0, [Event("remove", gone, gone)]) == Plan()
