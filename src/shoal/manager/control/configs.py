"""Control's configs: create, get, list, update of labels, remove.

Source of checks and texts: SwarmKit manager/controlapi/config.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.manager.control.dependencies import check_is_unused
from shoal.manager.control.filters import named
from shoal.manager.control.names import validate_secret_annotations
from shoal.manager.control.requests import require, require_id
from shoal.store.changes import copy
from shoal.store.memory import Transaction

if TYPE_CHECKING:
    from shoal.store.store import Store

CONFIG_LIMIT_BYTES = 1000 * 1024


class Configs:
    """The RPCs of configs."""

    def __init__(self, store: Store, new_id: Callable[[], str]) -> None:
        self._store = store
        self._new_id = new_id

    async def get_config(self, request: api.GetConfigRequest) -> api.GetConfigResponse:
        """Return a config. Raises NotFound."""
        require_id("config", request.config_id)
        return api.GetConfigResponse(config=self._config(request.config_id))

    async def list_configs(self, request: api.ListConfigsRequest) -> api.ListConfigsResponse:
        """Return the configs that pass the filters."""
        return api.ListConfigsResponse(
            configs=[
                config
                for config in self._store.view().configs.all()
                if named(config.id, config.spec.annotations, request.filters)
            ]
        )

    async def create_config(self, request: api.CreateConfigRequest) -> api.CreateConfigResponse:
        """Store a new config. Raises InvalidArgument for a wrong spec, Conflict if the name is taken."""
        require(request.HasField("spec"))
        spec = request.spec
        validate_secret_annotations(spec.annotations)
        if not 0 < len(spec.data) < CONFIG_LIMIT_BYTES:
            raise InvalidArgument("config data must be larger than 0 and less than 1024000 bytes")
        config = api.Config(id=self._new_id(), spec=spec)

        def create(transaction: Transaction) -> None:
            if transaction.configs.find("name", spec.annotations.name):
                raise Conflict(f"config {spec.annotations.name} already exists")
            transaction.create(config)

        await self._store.update(create)
        return api.CreateConfigResponse(config=self._config(config.id))

    async def update_config(self, request: api.UpdateConfigRequest) -> api.UpdateConfigResponse:
        """Change the labels. Raises InvalidArgument for any other change, OutOfSequence, NotFound."""
        require_id("config", request.config_id and request.HasField("config_version"))

        def update(transaction: Transaction) -> None:
            current = transaction.configs.get(request.config_id)
            if current is None:
                raise _not_found(request.config_id)
            spec = request.spec
            same_data = not spec.data or spec.data == current.spec.data
            if spec.annotations.name != current.spec.annotations.name or not same_data:
                raise InvalidArgument("only updates to Labels are allowed")
            config = copy(current)
            config.meta.version.CopyFrom(request.config_version)
            config.spec.annotations.ClearField("labels")
            config.spec.annotations.labels.update(spec.annotations.labels)
            transaction.update(config)

        await self._store.update(update)
        return api.UpdateConfigResponse(config=self._config(request.config_id))

    async def remove_config(self, request: api.RemoveConfigRequest) -> api.RemoveConfigResponse:
        """Remove a config. Raises NotFound, and InvalidArgument with the services that use it."""
        require_id("config", request.config_id)

        def remove(transaction: Transaction) -> None:
            config = transaction.configs.get(request.config_id)
            if config is None:
                raise NotFound(f"could not find config {request.config_id}")
            check_is_unused(transaction, "config", config)
            transaction.remove(api.Config, config.id)

        await self._store.update(remove)
        return api.RemoveConfigResponse()

    def _config(self, config_id: str) -> api.Config:
        config = self._store.view().configs.get(config_id)
        if config is None:
            raise _not_found(config_id)
        return config


def _not_found(config_id: str) -> NotFound:
    return NotFound(f"config {config_id} not found")
