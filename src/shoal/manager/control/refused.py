"""The RPCs of what Shoal does not hold yet: secrets, configs, cluster volumes, extensions and resources.

Lists are empty, an unknown id is not found, as in a swarm where nobody made one; to make one is refused by name.
"""

from typing import NoReturn

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.base import Part, require
from shoal.manager.control.names import validate_annotations, validate_secret_annotations

SECRET_LIMIT_BYTES = 500 * 1024
CONFIG_LIMIT_BYTES = 1000 * 1024


class Secrets(Part):
    """The RPCs of secrets."""

    async def get_secret(self, request: api.GetSecretRequest) -> api.GetSecretResponse:
        """Find none."""
        _none("secret", request.secret_id)

    async def list_secrets(self, request: api.ListSecretsRequest) -> api.ListSecretsResponse:
        """Return none."""
        return api.ListSecretsResponse()

    async def create_secret(self, request: api.CreateSecretRequest) -> api.CreateSecretResponse:
        """Refuse."""
        require(request.HasField("spec"))
        validate_secret_annotations(request.spec.annotations)
        if request.spec.HasField("driver"):
            if not request.spec.driver.name:
                raise InvalidArgument("secret driver must have a name")
        elif not 0 < len(request.spec.data) < SECRET_LIMIT_BYTES:
            raise InvalidArgument("secret data must be larger than 0 and less than 512000 bytes")
        raise Unimplemented(unsupported.SECRETS)

    async def update_secret(self, request: api.UpdateSecretRequest) -> api.UpdateSecretResponse:
        """Find none."""
        _require_id("secret", request.secret_id and request.HasField("secret_version"))
        _none("secret", request.secret_id)

    async def remove_secret(self, request: api.RemoveSecretRequest) -> api.RemoveSecretResponse:
        """Find none."""
        _require_id("secret", request.secret_id)
        raise NotFound(f"could not find secret {request.secret_id}")


class Configs(Part):
    """The RPCs of configs."""

    async def get_config(self, request: api.GetConfigRequest) -> api.GetConfigResponse:
        """Find none."""
        _none("config", request.config_id)

    async def list_configs(self, request: api.ListConfigsRequest) -> api.ListConfigsResponse:
        """Return none."""
        return api.ListConfigsResponse()

    async def create_config(self, request: api.CreateConfigRequest) -> api.CreateConfigResponse:
        """Refuse."""
        require(request.HasField("spec"))
        validate_secret_annotations(request.spec.annotations)
        if not 0 < len(request.spec.data) < CONFIG_LIMIT_BYTES:
            raise InvalidArgument("config data must be larger than 0 and less than 1024000 bytes")
        raise Unimplemented(unsupported.CONFIGS)

    async def update_config(self, request: api.UpdateConfigRequest) -> api.UpdateConfigResponse:
        """Find none."""
        _require_id("config", request.config_id and request.HasField("config_version"))
        _none("config", request.config_id)

    async def remove_config(self, request: api.RemoveConfigRequest) -> api.RemoveConfigResponse:
        """Find none."""
        _require_id("config", request.config_id)
        raise NotFound(f"could not find config {request.config_id}")


class Volumes(Part):
    """The RPCs of cluster volumes."""

    async def get_volume(self, request: api.GetVolumeRequest) -> api.GetVolumeResponse:
        """Find none."""
        require(request.volume_id)
        raise NotFound(f"volume {request.volume_id} not found")

    async def list_volumes(self, request: api.ListVolumesRequest) -> api.ListVolumesResponse:
        """Return none."""
        return api.ListVolumesResponse()

    async def create_volume(self, request: api.CreateVolumeRequest) -> api.CreateVolumeResponse:
        """Refuse."""
        validate_volume_spec(request)
        raise Unimplemented(unsupported.VOLUMES)

    async def update_volume(self, request: api.UpdateVolumeRequest) -> api.UpdateVolumeResponse:
        """Find none."""
        require(request.volume_id, request.HasField("volume_version"))
        raise NotFound(f"volume {request.volume_id} not found")

    async def remove_volume(self, request: api.RemoveVolumeRequest) -> api.RemoveVolumeResponse:
        """Find none."""
        require(request.volume_id)
        raise NotFound(f"volume {request.volume_id} not found")


class Resources(Part):
    """The RPCs of extensions and of the resources that belong to them."""

    async def get_extension(self, request: api.GetExtensionRequest) -> api.GetExtensionResponse:
        """Find none."""
        require(request.extension_id)
        raise NotFound(f"extension {request.extension_id} not found")

    async def create_extension(self, request: api.CreateExtensionRequest) -> api.CreateExtensionResponse:
        """Refuse."""
        raise Unimplemented(unsupported.RESOURCES)

    async def remove_extension(self, request: api.RemoveExtensionRequest) -> api.RemoveExtensionResponse:
        """Find none."""
        require(request.extension_id)
        raise NotFound(f"could not find extension {request.extension_id}")

    async def get_resource(self, request: api.GetResourceRequest) -> api.GetResourceResponse:
        """Find none."""
        require(request.resource_id)
        raise NotFound(f"resource {request.resource_id} not found")

    async def list_resources(self, request: api.ListResourcesRequest) -> api.ListResourcesResponse:
        """Return none."""
        return api.ListResourcesResponse()

    async def create_resource(self, request: api.CreateResourceRequest) -> api.CreateResourceResponse:
        """Refuse."""
        raise Unimplemented(unsupported.RESOURCES)

    async def update_resource(self, request: api.UpdateResourceRequest) -> api.UpdateResourceResponse:
        """Find none."""
        require(request.resource_id, request.HasField("resource_version"))
        raise NotFound(f"resource {request.resource_id} not found")

    async def remove_resource(self, request: api.RemoveResourceRequest) -> api.RemoveResourceResponse:
        """Find none."""
        require(request.resource_id)
        raise NotFound(f"could not find resource {request.resource_id}")


def validate_volume_spec(request: api.CreateVolumeRequest) -> None:
    """Raise InvalidArgument for the first part that a cluster volume misses."""
    spec = request.spec
    if not request.HasField("spec"):
        raise InvalidArgument("spec must not be nil")
    if not spec.HasField("driver"):
        raise InvalidArgument("driver must be specified")
    validate_annotations(spec.annotations)
    if not spec.HasField("access_mode"):
        raise InvalidArgument("AccessMode must not be nil")
    if spec.access_mode.WhichOneof("access_type") is None:
        raise InvalidArgument("Volume AccessMode must specify either Mount or Block access type")


def _require_id(kind: str, given: object) -> None:
    if not given:
        raise InvalidArgument(f"{kind} ID must be provided")


def _none(kind: str, object_id: str) -> NoReturn:
    _require_id(kind, object_id)
    raise NotFound(f"{kind} {object_id} not found")
