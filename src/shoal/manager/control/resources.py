"""Control's extensions, and the resources that belong to them: there are none yet.

Lists are empty, an unknown id is not found, as in a swarm where nobody made one; to make one is refused by name.
Source of checks and texts: SwarmKit manager/controlapi/{extension,resource}.go.
"""

from shoal.api import v1 as api
from shoal.errors import NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.requests import require


class Resources:
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
