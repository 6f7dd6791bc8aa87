"""What nodes see of networks, as any manager tells its own host: asked here while it leads, else by the leader."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from grpclib.exceptions import GRPCError

from shoal.api.gen import views_pb2 as pb
from shoal.api.gen.views_grpc import ViewsBase
from shoal.errors import NoLeader, RpcError
from shoal.manager.forwarding.leader_link import LeaderLink, LeadsHere
from shoal.manager.forwarding.services import TermService

ATTEMPTS = 10  # each follows a change of the lead


class Views(Protocol):
    """Whoever asks on the leader."""

    def ask(self, network_ids: Sequence[str]) -> Awaitable[pb.ViewsReply]:
        """Return what the nodes on these networks see of them."""


class RemoteViews:
    """`shoal.v1.Views`. `local` returns this manager's own part in its term."""

    def __init__(self, link: LeaderLink, local: Callable[[], Views | None]) -> None:
        self._link = link
        self._local = local

    async def ask(self, network_ids: Sequence[str]) -> pb.ViewsReply:
        """Return what the leader is told. Raises RpcError with what it says, NoLeader, Unavailable, InvalidArgument."""
        for _ in range(ATTEMPTS):
            local = self._local()
            if local is not None:
                return await local.ask(network_ids)
            try:
                request = pb.ViewsRequest(network_ids=network_ids)
                reply: pb.ViewsReply = await self._link.call(_PATH, _HANDLER, request)
                return reply
            except LeadsHere:
                await self._link.wait_settled()
            except GRPCError as error:
                raise RpcError(error.status, error.message or "") from error
        raise NoLeader("the lead of the swarm keeps changing: try again")


_PATH = "/shoal.v1.Views/Ask"
_HANDLER = TermService(ViewsBase, lambda: None).__mapping__()[_PATH]
