"""Nodes: list, inspect, update, remove. Source: moby daemon/cluster/nodes.go, filters.go."""

from typing import Any

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.message import decode_body
from shoal.engine.codec.node import NODE, NODE_SPEC
from shoal.engine.control_client import rpc
from shoal.engine.parameters import object_version
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.errors import ShoalError

LIST_FILTERS = frozenset({"id", "name", "label", "node.label", "role", "membership"})


async def list_nodes(call: Call) -> web.StreamResponse:
    """GET /nodes."""
    filters = call.filters(LIST_FILTERS)
    control = call.backend.node.control()
    wanted = api.ListNodesRequest.Filters(
        name_prefixes=filters.get("name"),
        id_prefixes=filters.get("id"),
        labels=lookups.labels(filters.get("label")),
        node_labels=lookups.labels(filters.get("node.label")),
        roles=_values(api.NodeRole, "role", filters.get("role")),
        memberships=_values(api.NodeSpec.Membership, "membership", filters.get("membership")),
    )
    nodes = (await rpc(control.list_nodes, api.ListNodesRequest(filters=wanted))).nodes
    # Not from the cache: a manager's status is added when a node is read, and its version does not cover that.
    return json_reply([NODE.encode(node) for node in nodes])


def _values(enum: Any, name: str, texts: tuple[str, ...]) -> list[Any]:
    names = dict(enum.items())
    for text in texts:
        if text and text.upper() not in names:
            raise ShoalError(f"Invalid {name} filter: '{text}'")
    return [names[text.upper()] for text in texts if text]


async def inspect_node(call: Call) -> web.StreamResponse:
    """GET /nodes/{id}."""
    return json_reply(NODE.encode(await lookups.find_node(call.backend.node.control(), call.path["id"])))


async def update_node(call: Call) -> web.StreamResponse:
    """POST /nodes/{id}/update."""
    spec = decode_body(NODE_SPEC, await call.json_object())
    version = object_version(call, "node")
    control = call.backend.node.control()
    node = await lookups.find_node(control, call.path["id"])
    request = api.UpdateNodeRequest(node_id=node.id, node_version=api.Version(index=version), spec=spec)
    await rpc(control.update_node, request)
    return empty_reply()


async def remove_node(call: Call) -> web.StreamResponse:
    """DELETE /nodes/{id}."""
    control = call.backend.node.control()
    node = await lookups.find_node(control, call.path["id"])
    await rpc(control.remove_node, api.RemoveNodeRequest(node_id=node.id, force=call.flag("force")))
    return empty_reply()


ROUTES = [
    ("GET", "/nodes", list_nodes),
    ("GET", "/nodes/{id}", inspect_node),
    ("POST", "/nodes/{id}/update", update_node),
    ("DELETE", "/nodes/{id}", remove_node),
]
