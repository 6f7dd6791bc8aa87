"""Builders of objects for the store's tests."""

from shoal.api import v1 as api


def service(id: str, name: str | None = None) -> api.Service:  # noqa: A002
    return api.Service(id=id, spec=api.ServiceSpec(annotations=api.Annotations(name=id if name is None else name)))


def network(id: str, name: str) -> api.Network:  # noqa: A002
    return api.Network(id=id, spec=api.NetworkSpec(annotations=api.Annotations(name=name)))


def config(id: str, data: bytes = b"") -> api.Config:  # noqa: A002
    return api.Config(id=id, spec=api.ConfigSpec(annotations=api.Annotations(name=id), data=data))


def node(id: str, hostname: str = "", role: api.NodeRole = api.WORKER) -> api.Node:  # noqa: A002
    return api.Node(id=id, description=api.NodeDescription(hostname=hostname), role=role)


def task(
    id: str,  # noqa: A002
    service_id: str = "",
    slot: int = 0,
    node_id: str = "",
    desired_state: api.TaskState = api.RUNNING,
) -> api.Task:
    return api.Task(id=id, service_id=service_id, slot=slot, node_id=node_id, desired_state=desired_state)
