"""SwarmKit's way into the managers' quorum, where only Docker Engines knock: they are told that they cannot come in.

Managers of ours come in by `shoal.v1.Managers` (`managers`). Without this a Docker Engine that joins with a
manager's token would hear that a method is unknown, which says nothing.
"""

from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.gen.raft_grpc import RaftMembershipBase
from shoal.errors import FailedPrecondition

if TYPE_CHECKING:
    from grpclib.server import Stream

NO_ENGINES = (
    "a Docker Engine cannot be a manager of a Shoal swarm: leave, and join with the token that "
    "docker swarm join-token worker prints"
)


class RaftMembershipServer(RaftMembershipBase):
    """Refuses."""

    async def Join(self, stream: "Stream[api.JoinRequest, api.JoinResponse]") -> None:  # noqa: N802 - the protocol's name
        """Refuse."""
        raise FailedPrecondition(NO_ENGINES)

    async def Leave(self, stream: "Stream[api.LeaveRequest, api.LeaveResponse]") -> None:  # noqa: N802
        """Refuse."""
        raise FailedPrecondition(NO_ENGINES)
