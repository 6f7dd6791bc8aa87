import pytest

from shoal import errors
from shoal.api import v1 as api
from tests.unit.manager.control.conftest import Make


def task(task_id: str, slot: int, *, service: str = "s1", node: str = "n1", **fields: object) -> api.Task:
    made = api.Task(
        id=task_id,
        slot=slot,
        service_id=service,
        node_id=node,
        service_annotations=api.Annotations(name="web", labels={"tier": "front"}),
        desired_state=api.RUNNING,
        spec=api.TaskSpec(container=api.ContainerSpec(image="nginx")),
    )
    made.MergeFrom(api.Task(**fields))  # type: ignore[arg-type]
    return made


async def test_list_filters(make: Make) -> None:
    old = task("c3", 3, desired_state=api.SHUTDOWN)
    old.spec.container.image = "older"
    old.spec_version.index = 1
    control, _ = make(
        api.Service(
            id="s1",
            spec=api.ServiceSpec(task=task("", 0).spec),
            spec_version=api.Version(index=2),
        ),
        task("a1", 1, spec_version={"index": 2}),
        task("b2", 2, node="n2", spec_version={"index": 2}),
        old,
        task("d4", 0, service="s2"),
    )

    async def found(**filters: object) -> str:
        request = api.ListTasksRequest(filters=api.ListTasksRequest.Filters(**filters))  # type: ignore[arg-type]
        return "".join(sorted(each.id[0] for each in (await control.list_tasks(request)).tasks))

    assert await found() == "abcd"
    assert await found(names=["web.1.a1"]) == "a"
    assert await found(name_prefixes=["web.2", "web.n1"]) == "bd"
    assert await found(id_prefixes=["a", "d"]) == "ad"
    assert await found(labels={"tier": "front"}) == "abcd"
    assert await found(labels={"tier": "back"}) == ""
    assert await found(service_ids=["s1", "s1", "gone"]) == "abc"
    assert await found(node_ids=["n1"]) == "acd"
    assert await found(service_ids=["s1"], node_ids=["n1"]) == "ac"
    assert await found(desired_states=[api.RUNNING]) == "abd"
    assert await found(runtimes=["container"]) == "abcd"
    assert await found(runtimes=["attachment"]) == ""
    assert await found(up_to_date=True) == "ab"


async def test_get_and_remove(make: Make) -> None:
    control, store = make(task("a1", 1))
    assert (await control.get_task(api.GetTaskRequest(task_id="a1"))).task.slot == 1
    await control.remove_task(api.RemoveTaskRequest(task_id="a1"))
    assert len(store.view().tasks) == 0


@pytest.mark.parametrize("request_", [api.GetTaskRequest(task_id="x"), api.RemoveTaskRequest(task_id="x")])
async def test_unknown_task_is_not_found(make: Make, request_: api.GetTaskRequest | api.RemoveTaskRequest) -> None:
    control, _ = make()
    call = control.get_task if isinstance(request_, api.GetTaskRequest) else control.remove_task
    with pytest.raises(errors.NotFound, match=r"^task x not found$"):
        await call(request_)  # type: ignore[arg-type]
