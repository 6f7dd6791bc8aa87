"""Why a task is on its node, or on none, over HTTP."""

from shoal.api import v1 as api
from tests.unit.engine.fakes import FakeNode, backend, client, manager_node
from tests.unit.manager.builders import node, service, task


def pending() -> api.Task:
    made = task("web.1", api.PENDING)
    made.spec.placement.constraints.append("node.labels.disk==ssd")
    made.spec.placement.preferences.add().spread.spread_descriptor = "node.labels.zone"
    return made


async def test_each_node_is_told_of() -> None:
    fake, _ = manager_node(service(), node("a", labels={"disk": "ssd", "zone": "x"}), node("b"), pending())
    async with client(backend(node=fake)) as http:
        answer = await http.get("/shoal/v1/tasks/web/explain")
        assert answer.status == 200
        found = await answer.json()
    a, b = found.pop("Nodes")
    assert found == {
        "TaskID": "web.1",
        "ServiceID": "web",
        "State": "pending",
        "NodeID": "",
        "Message": "1 node can take the task: it is about to be placed",
        "Considered": 2,
        "Suitable": 1,
    }
    assert a == {
        "NodeID": "a",
        "Hostname": "a",
        "Chosen": False,
        "Suitable": True,
        "Reasons": [],
        "Spread": [{"Descriptor": "node.labels.zone", "Value": "x", "ServiceTasks": 0}],
        "ServiceTasks": 0,
        "Tasks": 0,
        "Failures": 0,
        "Avoided": False,
    }
    assert (b["Suitable"], b["Reasons"]) == (
        False,
        ['scheduling constraints not satisfied: node.labels.disk==ssd, but it is ""'],
    )


async def test_a_task_that_is_not_there_is_not_found() -> None:
    async with client(backend(node=manager_node()[0])) as http:
        answer = await http.get("/shoal/v1/tasks/gone/explain")
        assert (answer.status, await answer.json()) == (404, {"message": "task gone not found"})


async def test_without_a_manager_nothing_is_explained() -> None:
    async with client(backend(node=FakeNode())) as http:
        assert (await http.get("/shoal/v1/tasks/t/explain")).status == 503
