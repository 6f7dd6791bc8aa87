"""Configs: create, list, inspect, update, remove. Source: moby daemon/cluster/configs.go, cluster_routes.go."""

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.message import decode_body
from shoal.engine.codec.secret import CONFIG, CONFIG_SPEC
from shoal.engine.control_client import rpc
from shoal.engine.parameters import object_version
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.errors import InvalidArgument

LIST_FILTERS = frozenset({"id", "name", "label"})


async def list_configs(call: Call) -> web.StreamResponse:
    """GET /configs."""
    filters = call.filters(LIST_FILTERS)
    wanted = api.ListConfigsRequest.Filters(
        name_prefixes=filters.get("name"),
        id_prefixes=filters.get("id"),
        labels=lookups.labels(filters.get("label")),
    )
    control = call.backend.node.control()
    configs = (await rpc(control.list_configs, api.ListConfigsRequest(filters=wanted))).configs
    return json_reply([CONFIG.encode(config) for config in configs])


async def create_config(call: Call) -> web.StreamResponse:
    """POST /configs/create."""
    spec = decode_body(CONFIG_SPEC, await call.json_object())
    if spec.HasField("templating") and call.api < 37:
        raise InvalidArgument(f"config templating is not supported on the specified API version: 1.{call.api}")
    reply = await rpc(call.backend.node.control().create_config, api.CreateConfigRequest(spec=spec))
    return json_reply({"ID": reply.config.id}, 201)


async def inspect_config(call: Call) -> web.StreamResponse:
    """GET /configs/{id}."""
    return json_reply(CONFIG.encode(await lookups.find_config(call.backend.node.control(), call.path["id"])))


async def update_config(call: Call) -> web.StreamResponse:
    """POST /configs/{id}/update."""
    spec = decode_body(CONFIG_SPEC, await call.json_object())
    version = object_version(call, "config", brief=True)
    control = call.backend.node.control()
    config = await lookups.find_config(control, call.path["id"])
    request = api.UpdateConfigRequest(config_id=config.id, config_version=api.Version(index=version), spec=spec)
    await rpc(control.update_config, request)
    return empty_reply()


async def remove_config(call: Call) -> web.StreamResponse:
    """DELETE /configs/{id}."""
    control = call.backend.node.control()
    config = await lookups.find_config(control, call.path["id"])
    await rpc(control.remove_config, api.RemoveConfigRequest(config_id=config.id))
    return empty_reply(204)


ROUTES = [
    ("GET", "/configs", list_configs),
    ("POST", "/configs/create", create_config),
    ("GET", "/configs/{id}", inspect_config),
    ("POST", "/configs/{id}/update", update_config),
    ("DELETE", "/configs/{id}", remove_config),
]
