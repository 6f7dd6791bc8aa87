"""Control's cluster volumes, which Shoal does not support yet.

Reads answer as in a swarm without volumes. Creating one is refused as unsupported, after Docker's checks. Source of
checks and texts: SwarmKit manager/controlapi/volume.go.
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.names import validate_annotations
from shoal.manager.control.requests import require


class Volumes:
    """The RPCs of cluster volumes."""

    async def get_volume(self, request: api.GetVolumeRequest) -> api.GetVolumeResponse:
        """Raise NotFound."""
        require(request.volume_id)
        raise NotFound(f"volume {request.volume_id} not found")

    async def list_volumes(self, request: api.ListVolumesRequest) -> api.ListVolumesResponse:
        """Return an empty list."""
        return api.ListVolumesResponse()

    async def create_volume(self, request: api.CreateVolumeRequest) -> api.CreateVolumeResponse:
        """Raise InvalidArgument for a wrong spec, Unimplemented for any other."""
        validate_volume_spec(request)
        raise Unimplemented(unsupported.VOLUMES)

    async def update_volume(self, request: api.UpdateVolumeRequest) -> api.UpdateVolumeResponse:
        """Raise NotFound."""
        require(request.volume_id, request.HasField("volume_version"))
        raise NotFound(f"volume {request.volume_id} not found")

    async def remove_volume(self, request: api.RemoveVolumeRequest) -> api.RemoveVolumeResponse:
        """Raise NotFound."""
        require(request.volume_id)
        raise NotFound(f"volume {request.volume_id} not found")


def validate_volume_spec(request: api.CreateVolumeRequest) -> None:
    """Raise InvalidArgument for the first required part of a cluster volume that is missing or wrong."""
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
