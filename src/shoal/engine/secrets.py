"""Secrets: their RPCs, JSON and filters. The calls are in `dependencies`.

Source: moby daemon/cluster/secrets.go, filters.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.secret import SECRET, SECRET_SPEC
from shoal.engine.control_client import rpc
from shoal.engine.dependencies import Kind, routes
from shoal.engine.requests import Filters

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs


class Secrets(Kind[api.SecretSpec, api.Secret]):
    """Secrets, as a kind of dependency."""

    name = "secret"
    spec = SECRET_SPEC
    object = SECRET
    list_filters = frozenset({"id", "name", "names", "label"})

    async def list(self, control: ControlRpcs, filters: Filters) -> Sequence[api.Secret]:
        wanted = api.ListSecretsRequest.Filters(
            names=filters.get("names"),
            name_prefixes=filters.get("name"),
            id_prefixes=filters.get("id"),
            labels=lookups.labels(filters.get("label")),
        )
        return (await rpc(control.list_secrets, api.ListSecretsRequest(filters=wanted))).secrets

    async def find(self, control: ControlRpcs, ref: str) -> api.Secret:
        return await lookups.find_secret(control, ref)

    async def create(self, control: ControlRpcs, spec: api.SecretSpec) -> api.Secret:
        return (await rpc(control.create_secret, api.CreateSecretRequest(spec=spec))).secret

    async def update(self, control: ControlRpcs, object_id: str, version: api.Version, spec: api.SecretSpec) -> None:
        request = api.UpdateSecretRequest(secret_id=object_id, secret_version=version, spec=spec)
        await rpc(control.update_secret, request)

    async def remove(self, control: ControlRpcs, object_id: str) -> None:
        await rpc(control.remove_secret, api.RemoveSecretRequest(secret_id=object_id))


ROUTES = routes(Secrets())
