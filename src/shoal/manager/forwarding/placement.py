"""Explains a task's placement for the Engine API of any manager: answered here while it leads, else by the leader."""

from collections.abc import Callable
from typing import Protocol

from grpclib.exceptions import GRPCError

from shoal.api.gen import placement_pb2 as pb
from shoal.api.gen.placement_grpc import PlacementBase
from shoal.errors import NoLeader, RpcError
from shoal.manager.forwarding.leader_link import LeaderLink, LeadsHere
from shoal.manager.forwarding.services import TermService

ATTEMPTS = 10  # each comes after a change of leader


class Placement(Protocol):
    """The part of the leader that answers."""

    def explain(self, task_id: str) -> pb.Explanation:
        """Return why a task is where it is. Raises NotFound."""


class RemotePlacement:
    """`shoal.v1.Placement`. `local` returns this manager's own while it leads, else None."""

    def __init__(self, link: LeaderLink, local: Callable[[], Placement | None]) -> None:
        self._link = link
        self._local = local

    async def explain(self, task_id: str) -> pb.Explanation:
        """Return the leader's answer. Raises RpcError with the leader's error, NotFound, NoLeader, Unavailable."""
        for _ in range(ATTEMPTS):
            local = self._local()
            if local is not None:
                return local.explain(task_id)
            try:
                reply: pb.Explanation = await self._link.call(_PATH, _HANDLER, pb.ExplainRequest(task_id=task_id))
                return reply
            except LeadsHere:
                await self._link.wait_settled()
            except GRPCError as error:
                raise RpcError(error.status, error.message or "") from error
        raise NoLeader("the lead of the swarm keeps changing: try again")


_PATH, _HANDLER = next(iter(TermService(PlacementBase, lambda: None).__mapping__().items()))
