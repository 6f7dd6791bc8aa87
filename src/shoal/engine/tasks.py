"""Tasks: list and inspect. Source: moby daemon/cluster/tasks.go, filters.go."""

from typing import Any

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.cache import json_list
from shoal.engine.codec.task import TASK
from shoal.engine.control_client import rpc
from shoal.engine.replies import encoded_reply
from shoal.engine.requests import Call
from shoal.errors import ShoalError

LIST_FILTERS = frozenset({"id", "name", "label", "service", "node", "desired-state", "_up-to-date", "runtime"})


async def list_tasks(call: Call) -> web.StreamResponse:
    """GET /tasks: only tasks of containers, unless the filter `runtime` asks for others."""
    filters = call.filters(LIST_FILTERS)
    control = call.backend.node.control()
    wanted = api.ListTasksRequest.Filters(
        name_prefixes=filters.get("name"),
        id_prefixes=filters.get("id"),
        labels=lookups.labels(filters.get("label")),
        service_ids=[(await lookups.find_service(control, ref)).id for ref in filters.get("service")],
        node_ids=[(await lookups.find_node(control, ref)).id for ref in filters.get("node")],
        up_to_date=bool(filters.get("_up-to-date")),
        runtimes=filters.get("runtime") if "runtime" in filters else ("container", ""),
        desired_states=[_state(name) for name in filters.get("desired-state") if name],
    )
    tasks = (await rpc(control.list_tasks, api.ListTasksRequest(filters=wanted))).tasks
    return encoded_reply(json_list([call.backend.encoded.encode(TASK, task) for task in tasks]))


def _state(name: str) -> Any:
    if name.upper() not in api.TaskState.keys():  # noqa: SIM118 - this is an enum wrapper, not a mapping
        raise ShoalError(f"Invalid desired-state filter: '{name}'")
    return api.TaskState.Value(name.upper())


async def inspect_task(call: Call) -> web.StreamResponse:
    """GET /tasks/{id}."""
    task = await lookups.find_task(call.backend.node.control(), call.path["id"])
    return encoded_reply(call.backend.encoded.encode(TASK, task))


ROUTES = [
    ("GET", "/tasks", list_tasks),
    ("GET", "/tasks/{id}", inspect_task),
]
