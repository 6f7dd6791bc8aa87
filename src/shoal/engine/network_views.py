"""This node's view of networks, on a path that Docker does not have: what `shoal network doctor` lays side by side.

    GET /shoal/v1/networks/view?ref=REF    a network or a service; without `ref`, all overlays that this node is on

Each node answers for itself alone: what the shared tables say, what its kernel has, whom names lead to; a manager adds
what the store says should be. Why nodes are not asked by managers: docs/decisions/0028-network-doctor.md.
"""

from typing import Any

from aiohttp import web

from shoal.api.predefined import is_predefined
from shoal.engine import lookups, network_store_json
from shoal.engine.replies import json_reply
from shoal.engine.requests import Call
from shoal.errors import NotFound, ShoalError, Unavailable

PATH = "/shoal/v1/networks/view"

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
    return json_reply(
        {
            "Node": {"ID": info.node_id, "Hostname": call.backend.facts.name, "Address": info.node_addr},
            "Service": service,
            "Networks": [await _view(call, each, names.get(each, each)) for each in chosen],
        }
    )


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
    shown: Shown = {"ID": network_id, "Name": name, "Store": None, "Told": None, "Layers": None, "Reason": ""}
    try:
        shown["Store"] = network_store_json.on_network(call.backend.node.view(), network_id)
    except Unavailable:
        pass  # the store is the managers'
    try:
        shown["Told"] = await call.backend.overlays.show(network_id)
        shown["Layers"] = await call.backend.overlays.examine(network_id)
    except ShoalError as error:
        shown["Reason"] = str(error)
    return shown


ROUTES = [("GET", PATH, view_networks)]
