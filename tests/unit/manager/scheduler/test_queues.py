"""Which waiting group is tried when."""

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import Demand
from shoal.manager.scheduler.nodeinfo import NodeInfo
from shoal.manager.scheduler.queues import Queues
from tests.unit.manager.builders import node, task

INFOS = {name: NodeInfo(node(name), {}) for name in "ab"}


def queues_of(against: str = "") -> Queues:
    return Queues(lambda service_id, demand, info: against)


def groups(queues: Queues) -> list[list[str]]:
    """Try all groups, and return them."""
    tried = []
    for key in queues.groups_to_try(INFOS):
        tried.append(queues.tasks_of(key))
        queues.tried(key, Demand())
    return tried


def try_all(queues: Queues) -> None:
    groups(queues)
    for task_id in queues.preassigned_to_try():
        queues.tried_preassigned(task_id)


def test_tasks_of_one_spec_are_a_group_and_others_are_alone() -> None:
    queues = queues_of()
    for name, version in (("web.1", 1), ("web.2", 1), ("web.3", 2), ("db.1", 1)):
        queues.put(task(name, api.PENDING, version=version))
    for name in ("x", "y"):
        queues.put(api.Task(id=name, desired_state=api.RUNNING))
    assert groups(queues) == [["web.1", "web.2"], ["web.3"], ["db.1"], ["x"], ["y"]]


def test_a_group_that_was_tried_waits_for_a_node_or_a_new_task() -> None:
    queues = queues_of()
    queues.put(task("web.1", api.PENDING))
    try_all(queues)
    assert not queues.have_work
    queues.put(task("web.1", api.PENDING))  # reported again, as after its reason was written
    assert not queues.have_work
    queues.put(task("web.2", api.PENDING))
    assert groups(queues) == [["web.1", "web.2"]]
    queues.node_changed("a", None)
    assert queues.have_work
    assert groups(queues) == [["web.1", "web.2"]]
    queues.node_changed("a", INFOS["a"])
    assert groups(queues) == []


def test_a_group_that_is_put_off_is_tried_again_come_what_may() -> None:
    queues = queues_of()
    queues.put(task("web.1", api.PENDING))
    try_all(queues)
    queues.node_changed("a", None)
    for key in queues.groups_to_try(INFOS):
        queues.put_off(key)
        break
    assert groups(queues) == [["web.1"]]
    assert not queues.have_work


def test_groups_are_handed_out_to_the_last_one_though_they_leave_meanwhile() -> None:
    queues = queues_of()
    names = [f"s{number}.1" for number in range(1203)]
    for name in names:
        queues.put(task(name, api.PENDING))
    tried = []
    for key in queues.groups_to_try(INFOS):
        tried += queues.tasks_of(key)
        queues.forget(tried[-1])
    assert tried == names
    assert not queues.have_work


def test_a_task_that_came_with_its_node_waits_for_that_node_alone() -> None:
    queues = queues_of()
    queues.put(task("agent.0.a", api.PENDING, node="a"))
    queues.put(task("agent.0.b", api.PENDING, node="b"))
    assert queues.preassigned_to_try() == ["agent.0.a", "agent.0.b"]
    try_all(queues)
    queues.node_changed("b", INFOS["b"])
    assert queues.preassigned_to_try() == ["agent.0.b"]


def test_a_task_that_is_told_to_stop_leaves_its_group() -> None:
    queues = queues_of()
    for desired in (api.RUNNING, api.SHUTDOWN):
        queues.put(task("web.1", api.PENDING, desired))
    assert (groups(queues), queues.unwanted()) == ([], ["web.1"])
    queues.put(task("web.1", api.PENDING, api.REMOVE))
    assert queues.unwanted() == []
    assert not queues.have_work


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    queues = queues_of()
    queues.put(task("web.1", api.PENDING))
    queues.put(task("agent.0", api.PENDING, node="a"))
    for name in ("web.1", "agent.0", "never.1"):
        queues.forget(name)
    queues.node_changed("a", None)
    assert not queues.have_work
