"""A manager with a few tasks, for commands that list them."""

from typing import Any

from shoal.api import times
from shoal.api import v1 as api
from tests.unit.engine.fakes import FakeNode, manager_node

DIGEST = "sha256:" + "d" * 64
SPEC = api.ServiceSpec(annotations=api.Annotations(name="web"), task=api.TaskSpec(container=api.ContainerSpec()))


def task(task_id: str, service_id: str, **fields: Any) -> api.Task:
    return api.Task(
        id=task_id,
        spec=api.TaskSpec(container=api.ContainerSpec(image=f"busybox:1@{DIGEST}")),
        service_id=service_id,
        desired_state=api.RUNNING,
        **fields,
    )


def status(state: int, error: str = "") -> api.TaskStatus:
    return api.TaskStatus(state=state, err=error, timestamp=times.timestamp(1_700_000_000.5))  # type: ignore[arg-type]


def manager() -> FakeNode:
    """Return a manager with tasks in slots 10 and 2 of a service, and with a task of a global service that is gone
    already.
    """
    node, _ = manager_node(
        api.Service(id="web-id", spec=SPEC),
        api.Node(id="m1", description=api.NodeDescription(hostname="host-1")),
        task(
            "t1", "web-id", slot=10, node_id="m1", status=status(api.FAILED, "task: non-zero exit (1), again and again")
        ),
        task("t2", "web-id", slot=2, node_id="m1", status=status(api.RUNNING)),
        task("t3", "gone-id", node_id="m2", status=status(api.RUNNING)),
    )
    return node
