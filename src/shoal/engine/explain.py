"""Explains why a task is on its node, or has none, on a path that Docker does not have.

    GET /shoal/v1/tasks/{id}/explain    the scheduler's verdict about each node; `{id}` may be the beginning of an id

Any manager answers; the leader's scheduler is asked.
"""

from typing import Any

from aiohttp import web

from shoal.api.gen import placement_pb2 as pb
from shoal.engine import lookups
from shoal.engine.control_client import rpc
from shoal.engine.replies import json_reply
from shoal.engine.requests import Call

PATH = "/shoal/v1/tasks/{id}/explain"


async def explain_task(call: Call) -> web.StreamResponse:
    """GET /shoal/v1/tasks/{id}/explain."""
    node = call.backend.node
    task = await lookups.find_task(node.control(), call.path["id"])
    return json_reply(shown(await rpc(node.explain_task, task.id)))


def shown(found: pb.Explanation) -> dict[str, Any]:
    """Return the JSON of an explanation."""
    return {
        "TaskID": found.task_id,
        "ServiceID": found.service_id,
        "State": found.state,
        "NodeID": found.node_id,
        "Message": found.message,
        "Considered": found.considered,
        "Suitable": found.suitable,
        "Nodes": [_node(one) for one in found.nodes],
    }


def _node(one: pb.NodeVerdict) -> dict[str, Any]:
    return {
        "NodeID": one.node_id,
        "Hostname": one.hostname,
        "Chosen": one.is_chosen,
        "Suitable": not one.reasons,
        "Reasons": list(one.reasons),
        "Spread": [
            {"Descriptor": each.descriptor, "Value": each.value, "ServiceTasks": each.service_tasks}
            for each in one.spread
        ],
        "ServiceTasks": one.service_tasks,
        "Tasks": one.tasks,
        "Failures": one.failures,
        "Avoided": one.is_avoided,
    }


ROUTES = [("GET", PATH, explain_task)]
