"""Configs: their RPCs, JSON and filters. The calls are in `dependencies`.

Source: moby daemon/cluster/configs.go, filters.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.secret import CONFIG, CONFIG_SPEC
from shoal.engine.control_client import rpc
from shoal.engine.dependencies import Kind, routes
from shoal.engine.requests import Filters

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs


class Configs(Kind[api.ConfigSpec, api.Config]):
    """Configs, as a kind of dependency."""

    name = "config"
    spec = CONFIG_SPEC
    object = CONFIG
    list_filters = frozenset({"id", "name", "label"})

    async def list(self, control: ControlRpcs, filters: Filters) -> Sequence[api.Config]:
        wanted = api.ListConfigsRequest.Filters(
            name_prefixes=filters.get("name"),
            id_prefixes=filters.get("id"),
            labels=lookups.labels(filters.get("label")),
        )
        return (await rpc(control.list_configs, api.ListConfigsRequest(filters=wanted))).configs

    async def find(self, control: ControlRpcs, ref: str) -> api.Config:
        return await lookups.find_config(control, ref)

    async def create(self, control: ControlRpcs, spec: api.ConfigSpec) -> api.Config:
        return (await rpc(control.create_config, api.CreateConfigRequest(spec=spec))).config

    async def update(self, control: ControlRpcs, object_id: str, version: api.Version, spec: api.ConfigSpec) -> None:
        request = api.UpdateConfigRequest(config_id=object_id, config_version=version, spec=spec)
        await rpc(control.update_config, request)

    async def remove(self, control: ControlRpcs, object_id: str) -> None:
        await rpc(control.remove_config, api.RemoveConfigRequest(config_id=object_id))


ROUTES = routes(Configs())
