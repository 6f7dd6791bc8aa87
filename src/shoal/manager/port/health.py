"""The Health service: whether a manager serves. Source: SwarmKit manager/health/health.go."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.gen.health_grpc import HealthBase
from shoal.errors import NotFound, ShoalError

if TYPE_CHECKING:
    from grpclib.server import Stream


class HealthServer(HealthBase):
    """Answers for the server as a whole (with an empty name) and for its registered parts."""

    def __init__(self, raft: Callable[[], bool]) -> None:
        """`raft` returns whether this manager takes part in Raft. Swarm's leader asks a joining manager about that."""
        self._parts: dict[str, Callable[[], bool]] = {"": lambda: True, "Raft": raft}

    async def Check(  # noqa: N802 - the protocol's name
        self, stream: "Stream[api.HealthCheckRequest, api.HealthCheckResponse]"
    ) -> None:
        """Answer for one part. Raises NotFound for an unknown part."""
        request = await stream.recv_message()
        if request is None:
            raise ShoalError("the call ended without a request")
        is_serving = self._parts.get(request.service)
        if is_serving is None:
            raise NotFound("unknown service")
        serving = api.HealthCheckResponse.SERVING if is_serving() else api.HealthCheckResponse.NOT_SERVING
        await stream.send_message(api.HealthCheckResponse(status=serving))
