"""Who is tried when."""

from shoal.api import v1 as api
from shoal.manager.scheduler.queues import Queues
from tests.unit.manager.builders import task


def groups(queues: Queues) -> list[list[str]]:
    return [queues.tasks_of(key) for key in queues.groups_to_try()]


def try_all(queues: Queues) -> None:
    for key in queues.groups_to_try():
        queues.tried(key)
    for task_id in queues.preassigned_to_try():
        queues.tried_preassigned(task_id)


def test_tasks_of_one_spec_are_a_group_and_others_are_alone() -> None:
    queues = Queues()
    for name, version in (("web.1", 1), ("web.2", 1), ("web.3", 2), ("db.1", 1)):
        queues.put(task(name, api.PENDING, version=version))
    for name in ("x", "y"):
        queues.put(api.Task(id=name, desired_state=api.RUNNING))
    assert groups(queues) == [["web.1", "web.2"], ["web.3"], ["db.1"], ["x"], ["y"]]


def test_a_group_that_was_tried_waits_for_a_node_or_a_new_task() -> None:
    queues = Queues()
    queues.put(task("web.1", api.PENDING))
    try_all(queues)
    assert not queues.have_work
    queues.put(task("web.1", api.PENDING))  # told of again, as after its reason was written
    assert not queues.have_work
    queues.put(task("web.2", api.PENDING))
    assert groups(queues) == [["web.1", "web.2"]]
    try_all(queues)
    queues.node_changed("a")
    assert groups(queues) == [["web.1", "web.2"]]


def test_a_task_that_came_with_its_node_waits_for_that_node_alone() -> None:
    queues = Queues()
    queues.put(task("agent.0.a", api.PENDING, node="a"))
    queues.put(task("agent.0.b", api.PENDING, node="b"))
    assert queues.preassigned_to_try() == ["agent.0.a", "agent.0.b"]
    try_all(queues)
    queues.node_changed("b")
    assert queues.preassigned_to_try() == ["agent.0.b"]


def test_a_task_that_is_told_to_stop_leaves_its_group() -> None:
    queues = Queues()
    for desired in (api.RUNNING, api.SHUTDOWN):
        queues.put(task("web.1", api.PENDING, desired))
    assert (groups(queues), queues.unwanted()) == ([], ["web.1"])
    queues.put(task("web.1", api.PENDING, api.REMOVE))
    assert queues.unwanted() == []
    assert not queues.have_work


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    queues = Queues()
    queues.put(task("web.1", api.PENDING))
    queues.put(task("agent.0", api.PENDING, node="a"))
    for name in ("web.1", "agent.0", "never.1"):
        queues.forget(name)
    queues.node_changed("a")
    assert not queues.have_work
