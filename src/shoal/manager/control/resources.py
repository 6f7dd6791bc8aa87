"""Control's extensions and their resources, which Shoal does not support yet.

Reads answer as in a swarm without extensions. Creating one is refused as unsupported. Source of checks and texts:
SwarmKit manager/controlapi/{extension,resource}.go.
"""

from shoal.api import v1 as api
from shoal.errors import NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.requests import require


class Resources:
    """The RPCs of extensions and their resources."""

    async def get_extension(self, request: api.GetExtensionRequest) -> api.GetExtensionResponse:
        """Raise NotFound."""
        require(request.extension_id)
        raise NotFound(f"extension {request.extension_id} not found")

    async def create_extension(self, request: api.CreateExtensionRequest) -> api.CreateExtensionResponse:
        """Raise Unimplemented."""
        raise Unimplemented(unsupported.RESOURCES)

    async def remove_extension(self, request: api.RemoveExtensionRequest) -> api.RemoveExtensionResponse:
        """Raise NotFound."""
        require(request.extension_id)
        raise NotFound(f"could not find extension {request.extension_id}")

    async def get_resource(self, request: api.GetResourceRequest) -> api.GetResourceResponse:
        """Raise NotFound."""
        require(request.resource_id)
        raise NotFound(f"resource {request.resource_id} not found")

    async def list_resources(self, request: api.ListResourcesRequest) -> api.ListResourcesResponse:
        """Return an empty list."""
        return api.ListResourcesResponse()

    async def create_resource(self, request: api.CreateResourceRequest) -> api.CreateResourceResponse:
        """Raise Unimplemented."""
        raise Unimplemented(unsupported.RESOURCES)

    async def update_resource(self, request: api.UpdateResourceRequest) -> api.UpdateResourceResponse:
        """Raise NotFound."""
        require(request.resource_id, request.HasField("resource_version"))
        raise NotFound(f"resource {request.resource_id} not found")

    async def remove_resource(self, request: api.RemoveResourceRequest) -> api.RemoveResourceResponse:
        """Raise NotFound."""
        require(request.resource_id)
        raise NotFound(f"could not find resource {request.resource_id}")
