import json
from typing import Any

from shoal.api import times
from shoal.api import v1 as api
from tests.unit.engine.fakes import backend, client, manager_node


def task(task_id: str, state: int, service_id: str = "web-id", **fields: Any) -> api.Task:
    status = api.TaskStatus(
        state=state,  # type: ignore[arg-type]
        message="started",
        timestamp=times.timestamp(1_700_000_000.5),
        container=api.ContainerStatus(container_id="c" * 64, pid=7),
    )
    return api.Task(
        id=task_id,
        spec=api.TaskSpec(container=api.ContainerSpec(image="busybox")),
        service_id=service_id,
        slot=1,
        desired_state=api.RUNNING,
        status=status,
        **fields,
    )


SERVICE = api.Service(id="web-id", spec=api.ServiceSpec(annotations=api.Annotations(name="web")))
NODE = api.Node(id="m1", description=api.NodeDescription(hostname="host-1"))


def served(*objects: Any) -> Any:
    return client(backend(node=manager_node(SERVICE, NODE, *objects)[0]))


async def test_a_task_is_shown_whole() -> None:
    async with served(task("t1", api.RUNNING, node_id="m1")) as http:
        shown = await (await http.get("/tasks/t1")).json()
        assert [shown] == await (await http.get("/tasks")).json()
        for given in ("Version", "CreatedAt", "UpdatedAt"):
            shown.pop(given)
        assert shown == {
            "ID": "t1",
            "Labels": {},
            "Spec": {"ContainerSpec": {"Image": "busybox", "Isolation": "default"}, "ForceUpdate": 0},
            "ServiceID": "web-id",
            "Slot": 1,
            "NodeID": "m1",
            "Status": {
                "Timestamp": "2023-11-14T22:13:20.5Z",
                "State": "running",
                "Message": "started",
                "ContainerStatus": {"ContainerID": "c" * 64, "PID": 7, "ExitCode": 0},
                "PortStatus": {},
            },
            "DesiredState": "running",
            "Volumes": None,
        }


async def test_a_run_of_a_job_has_its_number_with_and_without_ports() -> None:
    """Known fault 65: Docker showed the number of a run only where a task had ports."""
    plain = task("t1", api.COMPLETE, job_iteration=api.Version(index=3))
    port = api.PortConfig(target_port=80, published_port=8080)
    with_port = task("t2", api.COMPLETE, job_iteration=api.Version(index=3), endpoint=api.Endpoint(ports=[port]))
    with_port.status.port_status.ports.append(port)
    async with served(plain, with_port) as http:
        shown = [await (await http.get(f"/tasks/{one}")).json() for one in ("t1", "t2")]
    assert [one["JobIteration"] for one in shown] == [{"Index": 3}] * 2
    assert shown[1]["Status"]["PortStatus"]["Ports"][0]["PublishedPort"] == 8080


async def test_tasks_are_filtered_by_what_names_mean() -> None:
    async with served(task("t1", api.RUNNING, node_id="m1"), task("t2", api.FAILED, "other")) as http:

        async def ids(filters: dict[str, Any]) -> list[str]:
            answer = await http.get("/tasks", params={"filters": json.dumps(filters)})
            assert answer.status == 200, await answer.text()
            return sorted(each["ID"] for each in await answer.json())

        assert await ids({}) == ["t1", "t2"]
        assert await ids({"service": ["web"]}) == ["t1"]
        assert await ids({"node": {"host-1": True}}) == ["t1"]
        assert await ids({"desired-state": ["shutdown"]}) == []
        for filters, status, message in (
            ({"service": ["x"]}, 404, "service x not found"),
            ({"desired-state": ["x"]}, 500, "Invalid desired-state filter: 'x'"),
            ({"x": ["x"]}, 400, "invalid filter 'x'"),
        ):
            answer = await http.get("/tasks", params={"filters": json.dumps(filters)})
            assert (answer.status, await answer.json()) == (status, {"message": message})


async def test_an_unknown_task_is_not_found() -> None:
    async with served() as http:
        answer = await http.get("/tasks/x")
        assert (answer.status, await answer.json()) == (404, {"message": "task x not found"})
