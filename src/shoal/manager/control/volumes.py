"""Control's cluster volumes: there are none yet.

Lists are empty, an unknown id is not found, as in a swarm where nobody made one; to make one is refused by name.
Source of checks and texts: SwarmKit manager/controlapi/volume.go.
"""

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.names import validate_annotations
from shoal.manager.control.requests import require


class Volumes:
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
