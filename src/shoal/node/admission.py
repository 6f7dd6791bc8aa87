"""How a manager comes to a part in etcd's cluster: it asks the swarm, and is told who the others are.

In: managers that it knows of, where it is itself. Out: the members and the key of the store's data, or why not.
"""

import logging
from collections.abc import Iterable

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.managers_grpc import ManagersBase
from shoal.errors import InvariantBroken, RpcError, Unavailable
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import TermService

log = logging.getLogger(__name__)

JOIN = "/shoal.v1.Managers/Join"


async def announce(link: LeaderLink, address: str, *, has_data: bool) -> pb.JoinResponse:
    """Tell the leader where this manager is; without data it becomes a new member.

    Raises RpcError with what the leader says, Unavailable, LeadsHere.
    """
    try:
        reply = await link.call(JOIN, _HANDLER, pb.JoinRequest(addr=address, has_data=has_data))
    except GRPCError as error:
        raise RpcError(error.status, error.message or "") from error
    if not isinstance(reply, pb.JoinResponse):
        raise InvariantBroken("a manager answered something else than was asked")
    return reply


async def join(link: LeaderLink, managers: Iterable[str], address: str) -> pb.JoinResponse:
    """Ask managers, one after the other, to take this one in; whichever is asked sends the call on to the leader.

    Raises RpcError with what the leader says, Unavailable where nobody could be asked.
    """
    failure: Unavailable | RpcError = Unavailable("this manager knows of no other manager that it could join")
    for manager in managers:
        link.tell("", manager, leads=False)
        try:
            return await announce(link, address, has_data=False)
        except Unavailable as error:
            failure = error
        except RpcError as error:
            if error.grpc_status is not Status.UNAVAILABLE:
                raise
            failure = error
        finally:
            link.tell("", "", leads=False)
        log.debug("manager at %s was asked in vain: %s", manager, failure)
    raise failure


_HANDLER: Handler = TermService(ManagersBase, lambda: None).__mapping__()[JOIN]
