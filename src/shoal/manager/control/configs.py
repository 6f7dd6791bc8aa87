"""Control's configs, which Shoal does not support yet.

Reads answer as in a swarm without configs. Creating one is refused as unsupported, after Docker's checks. Source of
checks and texts: SwarmKit manager/controlapi/config.go.
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.names import validate_secret_annotations
from shoal.manager.control.requests import require, require_id

CONFIG_LIMIT_BYTES = 1000 * 1024


class Configs:
    """The RPCs of configs."""

    async def get_config(self, request: api.GetConfigRequest) -> api.GetConfigResponse:
        """Raise NotFound."""
        require_id("config", request.config_id)
        raise NotFound(f"config {request.config_id} not found")

    async def list_configs(self, request: api.ListConfigsRequest) -> api.ListConfigsResponse:
        """Return an empty list."""
        return api.ListConfigsResponse()

    async def create_config(self, request: api.CreateConfigRequest) -> api.CreateConfigResponse:
        """Raise InvalidArgument for a wrong spec, Unimplemented for any other."""
        require(request.HasField("spec"))
        validate_secret_annotations(request.spec.annotations)
        if not 0 < len(request.spec.data) < CONFIG_LIMIT_BYTES:
            raise InvalidArgument("config data must be larger than 0 and less than 1024000 bytes")
        raise Unimplemented(unsupported.CONFIGS)

    async def update_config(self, request: api.UpdateConfigRequest) -> api.UpdateConfigResponse:
        """Raise NotFound."""
        require_id("config", request.config_id and request.HasField("config_version"))
        raise NotFound(f"config {request.config_id} not found")

    async def remove_config(self, request: api.RemoveConfigRequest) -> api.RemoveConfigResponse:
        """Raise NotFound."""
        require_id("config", request.config_id)
        raise NotFound(f"could not find config {request.config_id}")
