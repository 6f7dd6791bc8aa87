"""Networks of this host and of the swarm: list and inspect; for those of the swarm also create, remove and prune.

Source of the shapes and of the order of search: moby api/types/network, daemon/server/router/network/network_routes.go,
daemon/cluster/networks.go.
"""

import logging
import re
import time
from typing import Any

from aiohttp import web

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.predefined import is_ingress, is_predefined
from shoal.engine import lookups, overlay_json
from shoal.engine.codec.message import decode_body, member
from shoal.engine.codec.network import NETWORK_CREATE, has_ipv4, wants_ipv4
from shoal.engine.container_json import instant
from shoal.engine.control_client import rpc
from shoal.engine.errors import RpcError
from shoal.engine.moments import labels_match, until
from shoal.engine.parameters import go_flag
from shoal.engine.replies import json_reply
from shoal.engine.requests import Call, Filters
from shoal.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ShoalError,
    Unavailable,
    Unimplemented,
)
from shoal.network.types import Configuration, ConfiguredSubnet, LocalNetwork

LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
OVERLAY = "overlay"
PREDEFINED = frozenset({"bridge", "host", "none", "default"})

_IN_USE = re.compile(r"network [a-zA-Z0-9]+ is in use")

log = logging.getLogger(__name__)

Shown = dict[str, Any]


def local_json(network: LocalNetwork) -> Shown:
    """Return a network of this host, or a configuration."""
    if network.configuration is not None:
        return _configuration_json(network, network.configuration)
    config = {"Subnet": network.subnet, "Gateway": network.gateway}
    return {
        **_base(network.name, network.id, instant(network.created_at), "local", network.driver),
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [{key: value for key, value in config.items() if value}] if network.subnet else [],
        },
    }


def _configuration_json(network: LocalNetwork, given: Configuration) -> Shown:
    configs = [
        {
            "Subnet": one.subnet,
            "IPRange": one.ip_range,
            "Gateway": one.gateway,
            "AuxiliaryAddresses": dict(one.reserved),
        }
        for one in given.subnets
    ]
    return {
        **_base(network.name, network.id, instant(network.created_at), "local", network.driver),
        "EnableIPv6": given.ipv6,
        "IPAM": {
            "Driver": given.ipam_driver,
            "Options": dict(given.ipam_options) or None,
            "Config": [{key: value for key, value in config.items() if value} for config in configs],
        },
        "ConfigOnly": True,
        "Options": dict(given.options),
        "Labels": dict(given.labels),
    }


def _configuration(spec: api.NetworkSpec) -> Configuration:
    return Configuration(
        subnets=tuple(
            ConfiguredSubnet(one.subnet, one.gateway, one.range, tuple(sorted(one.reserved.items())))
            for one in spec.ipam.configs
        ),
        options=tuple(sorted(spec.driver_config.options.items())),
        labels=tuple(sorted(spec.annotations.labels.items())),
        ipam_driver=spec.ipam.driver.name,
        ipam_options=tuple(sorted(spec.ipam.driver.options.items())),
        ipv6=spec.ipv6_enabled,
    )


def _local(call: Call) -> list[LocalNetwork]:
    return [*call.backend.network.networks(), *call.backend.configurations.list()]


def swarm_json(network: api.Network) -> Shown:
    """Return a network of the swarm. Source: convert/network.go, BasicNetworkFromGRPC."""
    spec = network.spec
    shown = _base(
        spec.annotations.name, network.id, times.rfc3339(network.meta.created_at), "swarm", network.driver_state.name
    )
    ipam = network.ipam
    shown |= {
        "EnableIPv4": has_ipv4(each.subnet for each in ipam.configs or spec.ipam.configs),
        "EnableIPv6": spec.ipv6_enabled,
        "IPAM": {
            "Driver": ipam.driver.name or "default",
            "Options": dict(ipam.driver.options) or None,
            "Config": [{key: value for key, value in _config(each) if value} for each in ipam.configs],
        },
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": is_ingress(network),
        "ConfigFrom": {"Network": spec.network},
        # Only nodes know their containers on a network of the swarm.
        "Containers": None,
        "Options": dict(network.driver_state.options) or None,
        "Labels": dict(spec.annotations.labels) or None,
        # A network of the swarm without a driver is an overlay.
        "Driver": network.driver_state.name or spec.driver_config.name or "overlay",
    }
    return shown


def _config(config: api.IPAMConfig) -> tuple[tuple[str, Any], ...]:
    return (
        ("Subnet", config.subnet),
        ("IPRange", config.range),
        ("Gateway", config.gateway),
        ("AuxiliaryAddresses", dict(config.reserved)),
    )


def _base(name: str, network_id: str, created: str, scope: str, driver: str) -> Shown:
    return {
        "Name": name,
        "Id": network_id,
        "Created": created,
        "Scope": scope,
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


async def list_networks(call: Call) -> web.StreamResponse:
    """GET /networks: those of the swarm first. Without a manager here, only those of this host."""
    filters = call.filters(LIST_FILTERS)
    shown = [swarm_json(network) for network in await _swarm_networks(call) if not is_predefined(network)]
    shown += [local_json(network) for network in _local(call)]
    return json_reply([network for network in shown if _passes(network, filters)])


async def _swarm_networks(call: Call) -> list[api.Network]:
    """Return the swarm's networks; without a manager here, or a quorum, those that this node is on, as Docker does."""
    managed = await _managed_networks(call)
    return _own_part(call) if managed is None else managed


async def _managed_networks(call: Call) -> list[api.Network] | None:
    """Return the swarm's networks as a manager has them; None without one, or without a quorum."""
    try:
        control = call.backend.node.control()
        return list((await rpc(control.list_networks, api.ListNetworksRequest())).networks)
    except ShoalError:
        return None


def _own_part(call: Call) -> list[api.Network]:
    on = {overlay.id for overlay in call.backend.overlays.wanted.overlays}
    return [network for network in call.backend.node.networks() if network.id in on]


def _passes(network: Shown, filters: Filters) -> bool:
    kinds = filters.get("type")
    if any(kind not in ("builtin", "custom") for kind in kinds):
        raise InvalidArgument(f"invalid filter: 'type'='{kinds[0]}'")
    builtin = "builtin" if network["Name"] in PREDEFINED else "custom"
    if filters.flag("dangling") and (network["Containers"] or builtin == "builtin"):
        return False
    return (
        filters.exact("driver", network["Driver"])
        and filters.exact("scope", network["Scope"])
        and filters.prefix("id", network["Id"])
        and filters.pattern("name", network["Name"])
        and filters.labels("label", network["Labels"] or {})
        and (not kinds or builtin in kinds)
    )


async def inspect_network(call: Call) -> web.StreamResponse:
    """GET /networks/{id}."""
    ref, scope = call.path["id"], call.query("scope")
    verbose = go_flag(call, "verbose", 'invalid value for verbose: %s: strconv.ParseBool: parsing "%s": invalid syntax')
    local = [network for network in _local(call) if scope in ("", "local")]
    for network in local:
        if network.id == ref:
            return json_reply(_with_containers(call, network))
    if scope in ("", "swarm"):
        found = await _find_in_swarm(call, ref)
        if found is not None and (scope == "swarm" or found.id.startswith(ref)):
            return json_reply(await _as_seen_here(call, found, verbose))
    named = [network for network in local if network.name == ref]
    begun = named or [network for network in local if network.id.startswith(ref)]
    if len(begun) > 1:
        raise InvalidArgument(f"network {ref} is ambiguous ({len(begun)} matches found based on ID prefix)")
    if begun:
        return json_reply(_with_containers(call, begun[0]))
    if scope == "" and found is not None:
        return json_reply(await _as_seen_here(call, found, verbose))
    raise NotFound(f"network {ref} not found")


async def _find_in_swarm(call: Call, ref: str) -> api.Network | None:
    try:
        return await lookups.find_network(call.backend.node.control(), ref)
    except ShoalError:
        own = _own_part(call)
    return (
        next((each for each in own if each.id == ref), None)
        or next((each for each in own if each.spec.annotations.name == ref), None)
        or next((each for each in own if each.id.startswith(ref)), None)
    )


async def _as_seen_here(call: Call, network: api.Network, verbose: bool) -> Shown:
    """Return a network of the swarm, with what this node knows of it where it takes part in it."""
    shown = swarm_json(network)
    try:
        found = await call.backend.overlays.show(network.id)
    except (NotFound, Unavailable):
        return shown
    shown["Containers"] = _containers(call, network.id)
    if nodes := overlay_json.peers(found):
        shown["Peers"] = nodes
    if verbose:
        shown["Services"] = overlay_json.services(found)
    return shown


def _with_containers(call: Call, network: LocalNetwork) -> Shown:
    return {**local_json(network), "Containers": _containers(call, network.id)}


def _containers(call: Call, network_id: str) -> Shown:
    shown = {}
    for container in call.backend.containers.list():
        for endpoint in container.sandbox.endpoints:
            if endpoint.network_id == network_id and endpoint.address and container.pid:
                shown[container.id] = {
                    "Name": container.config.name,
                    "EndpointID": endpoint.endpoint_id,
                    "MacAddress": endpoint.mac,
                    "IPv4Address": _with_prefix(*endpoint.of_ipv4),
                    "IPv6Address": _with_prefix(*endpoint.of_ipv6),
                }
    return shown


def _with_prefix(address: str, length: int) -> str:
    return f"{address}/{length}" if address else ""


async def create_network(call: Call) -> web.StreamResponse:
    """POST /networks/create. The checks of Docker's Engine come first, then the manager's."""
    body = await call.json_object()
    name = member(body, "Name")
    if not isinstance(name, str) or not name.strip():
        raise InvalidArgument("invalid network name: name is empty")
    # The swarm's first, among which are `host` and `bridge`: api/server/router/network (postNetworkCreate).
    taken = Conflict(f"network with name {name} already exists")
    if any(name == network.spec.annotations.name for network in await _swarm_networks(call)):
        raise taken
    if name in PREDEFINED:
        raise PermissionDenied(f"{name} is a pre-defined network and cannot be created")
    if any(name == network.name for network in _local(call)):
        raise taken
    spec = decode_body(NETWORK_CREATE, body)
    scope = member(body, "Scope")
    ipv4 = wants_ipv4(body, call.api)
    _validate_configuration(spec, scope or "", only=bool(member(body, "ConfigOnly")), ipv4=ipv4)
    if member(body, "ConfigOnly"):
        # Not at the top: a host that is in no swarm has none of the manager's modules.
        from shoal.manager.control.validate_ipam import validate_ipam

        validate_ipam(spec.ipam)
        made = await call.backend.configurations.create(name, _configuration(spec))
        return json_reply({"Id": made.id, "Warning": ""}, 201)
    if not (spec.driver_config.name == OVERLAY or scope == "swarm"):
        raise Unimplemented(
            "creating networks of this host alone comes with a later release; "
            "those of the swarm have the driver overlay, or the scope swarm"
        )
    if not ipv4 and (not spec.ipv6_enabled or has_ipv4(one.subnet for one in spec.ipam.configs)):
        # Docker's words, which it says of any (libnetwork/controller.go, NewNetwork). Without a subnet it is given one
        # of IPv4.
        raise InvalidArgument("IPv4 cannot be disabled in a Swarm scoped network")
    reply = await rpc(call.backend.node.control().create_network, api.CreateNetworkRequest(spec=spec))
    return json_reply({"Id": reply.network.id, "Warning": ""}, 201)


def _validate_configuration(spec: api.NetworkSpec, scope: object, *, only: bool, ipv4: bool) -> None:
    """Raise an error for what a configuration, or a network that has its own from one, cannot say.

    Source of checks, order and texts: libnetwork's network.go (`validateConfiguration`).
    """
    if only:
        if spec.ingress or spec.internal or spec.attachable or scope:
            raise PermissionDenied(
                "configuration network can only contain network specific fields. "
                "Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
            )
        if spec.network:
            raise PermissionDenied("a configuration network cannot depend on another configuration network")
        if not ipv4:
            # Docker stores it, and refuses the networks that are made from it.
            raise InvalidArgument(
                "IPv4 cannot be disabled in a configuration, which networks of the swarm are made from"
            )
    elif spec.network:
        ipam = spec.ipam
        if not ipv4 or spec.ipv6_enabled or spec.annotations.labels or ipam.driver.options or ipam.configs:
            raise PermissionDenied(
                "user specified configurations are not supported if the network depends on a configuration network"
            )
        if spec.driver_config.options:
            raise PermissionDenied(
                "network driver options are not supported if the network depends on a configuration network"
            )


async def change_network(call: Call) -> web.StreamResponse:
    """POST /networks/{id}/connect and /disconnect."""
    raise Unimplemented("connecting containers to networks comes with a later release")


async def remove_network(call: Call) -> web.StreamResponse:
    """DELETE /networks/{id}."""
    ref = call.path["id"]
    local = next((network for network in call.backend.network.networks() if ref in (network.id, network.name)), None)
    if local is not None:
        raise PermissionDenied(f"{local.name} is a pre-defined network and cannot be removed")
    configured = [one for one in call.backend.configurations.list() if ref in (one.id, one.name)]
    if configured:
        await call.backend.configurations.remove(configured[0].id)
        return web.Response(status=204)
    found = await _find_in_swarm(call, ref)
    if found is None:
        raise NotFound(f"network {ref} not found")
    await rpc(call.backend.node.control().remove_network, api.RemoveNetworkRequest(network_id=found.id))
    return web.Response(status=204)


async def prune_networks(call: Call) -> web.StreamResponse:
    """POST /networks/prune: removes networks of the swarm that nothing uses, except the ingress network."""
    filters = call.filters(frozenset({"label", "label!", "until"}))
    before = until(filters, time.time())
    removed = []
    for network in await _managed_networks(call) or ():
        labels = network.spec.annotations.labels
        if is_predefined(network) or is_ingress(network) or not labels_match(filters, labels):
            continue
        if before is not None and times.instant(network.meta.created_at) > before:
            continue
        try:
            await rpc(call.backend.node.control().remove_network, api.RemoveNetworkRequest(network_id=network.id))
        except RpcError as error:
            # Most stay because they are in use. Any other error is logged, and the next network is tried.
            if not _IN_USE.search(str(error)):
                log.warning("could not remove network %s: %s", network.spec.annotations.name, error)
            continue
        removed.append(network.spec.annotations.name)
    return json_reply({"NetworksDeleted": removed or None})


ROUTES = [
    ("GET", "/networks", list_networks),
    ("GET", "/networks/", list_networks),
    ("POST", "/networks/create", create_network),
    ("POST", "/networks/prune", prune_networks),
    ("GET", "/networks/{id}", inspect_network),
    ("POST", "/networks/{id}/connect", change_network),
    ("POST", "/networks/{id}/disconnect", change_network),
    ("DELETE", "/networks/{id}", remove_network),
]
