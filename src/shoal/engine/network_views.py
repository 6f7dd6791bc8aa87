"""This node's view of networks, on a path that Docker does not have: what `shoal network doctor` lays side by side.

    GET /shoal/v1/networks/view?ref=REF    a network or a service; without `ref`, all overlays that this node is on
        &others=true    on a manager: also the views of the other nodes on these networks

A node's view: what the shared tables say, what its kernel has, what names lead to. A manager adds what the store says
should be. How it asks others: docs/decisions/0030-network-doctor.md.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from shoal.api.gen.views_pb2 import NodeViews, ViewsReply
from shoal.api.predefined import is_predefined
from shoal.engine import lookups, network_store_json
from shoal.engine.control_client import rpc
from shoal.engine.replies import json_reply
from shoal.engine.requests import Call
from shoal.errors import NotFound, Unavailable
from shoal.json_text import BadJson, read_json

PATH = "/shoal/v1/networks/view"

MOST_NODE_BYTES = 2 * 1024 * 1024  # as the manager takes it (manager/views/desk.py)
# In one node's answer. Thousands of names and addresses have a tenth of it; empty lists would be a hundred megabytes.
MOST_VALUES = 300_000

Shown = dict[str, Any]


async def view_networks(call: Call) -> web.StreamResponse:
    """GET /shoal/v1/networks/view."""
    ref = call.query("ref")
    names = _known(call)
    service = ""
    here = [overlay.id for overlay in call.backend.overlays.wanted.overlays]
    if not ref:
        chosen = here
    elif found := _network(names, ref):
        chosen = [found]
    else:
        service, chosen = await _of_service(call, ref, here)
    info = call.backend.node.info()
    named = {each: names.get(each, each) for each in chosen}
    shown = {
        "Node": {"ID": info.node_id, "Hostname": call.backend.facts.name, "Address": info.node_addr},
        "Service": service,
        "Networks": [await _view(call, each, name) for each, name in named.items()],
    }
    if call.flag("others"):
        # Only managers ask.
        reply = await rpc(call.backend.node.network_views, chosen) if info.control_available else ViewsReply()
        shown["Others"] = [other(node, named) for node in reply.nodes if node.node_id != info.node_id]
    return json_reply(shown)


def other(node: NodeViews, names: Mapping[str, str]) -> Shown:
    """Return another node's views of these networks. What it sent may be anything: what is no view is left out."""
    reason = node.reason
    try:
        views = read_json(node.views, most_bytes=MOST_NODE_BYTES, most_values=MOST_VALUES) if node.views else []
    except BadJson:
        views, reason = [], "its answer cannot be read"
    found = dict(zip(names, views, strict=False)) if isinstance(views, list) else {}
    return {
        "Node": {"ID": node.node_id, "Hostname": node.hostname, "Address": node.address},
        "Asked": node.asked,
        "Networks": [_of_other(network_id, name, found.get(network_id), reason) for network_id, name in names.items()],
    }


def _of_other(network_id: str, name: str, view: Any, reason: str) -> Shown:
    base = {"ID": network_id, "Name": name, "Store": None, "Told": None, "Layers": None, "Reason": reason}
    if not isinstance(view, dict):
        return base
    return {**base, **{key: view[key] for key in ("Told", "Layers", "Reason") if key in view}}


def _known(call: Call) -> dict[str, str]:
    """Return the names of all networks that this node knows, by id."""
    known = {overlay.id: overlay.name for overlay in call.backend.overlays.wanted.overlays}
    try:
        networks = call.backend.node.view().networks.all()
    except Unavailable:
        return known
    return known | {each.id: each.spec.annotations.name for each in networks if not is_predefined(each)}


def _network(names: dict[str, str], ref: str) -> str:
    if ref in names:
        return ref
    named = [each for each, name in names.items() if name == ref] or [each for each in names if each.startswith(ref)]
    return named[0] if len(named) == 1 else ""


async def _of_service(call: Call, ref: str, here: list[str]) -> tuple[str, list[str]]:
    """Return a service's name and the ids of its networks; a node that is no manager knows those that it is on."""
    try:
        service = await lookups.find_service(call.backend.node.control(), ref)
    except Unavailable:
        chosen = [each for each in here if await _has_service(call, each, ref)]
        if not chosen:
            raise NotFound(f"this node is on no network {ref}, nor on one with a service {ref}") from None
        return ref, chosen
    except NotFound as error:
        raise NotFound(f"there is no network and no service {ref}") from error
    return service.spec.annotations.name, network_store_json.networks_of(service)


async def _has_service(call: Call, network_id: str, name: str) -> bool:
    try:
        told = await call.backend.overlays.show(network_id)
    except (NotFound, Unavailable):
        return False
    return any(endpoint["service"] == name for endpoint in told["endpoints"].values())


async def _view(call: Call, network_id: str, name: str) -> Shown:
    store = None
    try:
        store = network_store_json.on_network(call.backend.node.view(), network_id)
    except Unavailable:
        pass  # the store is the managers'
    return {"ID": network_id, "Name": name, "Store": store, **await call.backend.overlays.view(network_id)}


ROUTES = [("GET", PATH, view_networks)]
