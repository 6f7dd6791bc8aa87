"""Control and Logs for the Engine API of any manager: answered here while it leads, else by the leader.

In: requests of the Engine API. Out: replies, or `RpcError` with the leader's error, which looks like Docker's. The
objects stay the same when the leader changes. If the leader changes during a call that has not been carried out, the
call goes to the new leader.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.errors import NoLeader, RpcError, Unavailable
from shoal.manager.control import ControlRpcs
from shoal.manager.control.rpcs import Part, Reply, Request, Rpc
from shoal.manager.forwarding.leader_link import Broken, LeaderLink, LeadsHere
from shoal.manager.forwarding.services import ControlService, LogBroker, LogsService
from shoal.manager.logs.broker import check_selector

ATTEMPTS = 10  # each comes after a change of leader


class RemoteControl(ControlRpcs):
    """All RPCs of Control. `local` returns this manager's own Control while it leads, else None."""

    def __init__(self, link: LeaderLink, local: Callable[[], ControlRpcs | None]) -> None:
        self._link = link
        self._local = local

    async def carry_out(self, rpc: Rpc[Part, Request, Reply], request: Request) -> Reply:
        """Return the leader's reply. Raises RpcError, NoLeader, Unavailable; or Control's errors if it answers here."""
        for _ in range(ATTEMPTS):
            local = self._local()
            try:
                if local is not None:
                    return await local.carry_out(rpc, request)
                reply: Reply = await self._link.call(rpc.path, _HANDLERS[rpc.path], request, repeatable=rpc.repeatable)
                return reply
            except LeadsHere:
                await self._link.wait_settled()
            except NoLeader as moved:
                # From `call` this means that it waited for a leader in vain. From this manager's own Control, the
                # request was certainly not carried out only if the error has the plain text of NoLeader.
                if local is None or str(moved) != str(NoLeader()):
                    raise
                await self._link.wait_settled()
            except GRPCError as error:
                raise RpcError(error.status, error.message or "") from error
        raise NoLeader("the lead of the swarm keeps changing: try again")


class RemoteLogs:
    """The log broker, here or at the leader. `local` returns this manager's own while it leads, else None."""

    def __init__(self, link: LeaderLink, local: Callable[[], LogBroker | None]) -> None:
        self._link = link
        self._local = local

    def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        """Return the logs that a request selects, as they come. Raises InvalidArgument at once."""
        check_selector(request)
        local = self._local()
        if local is not None:
            return local.subscribe_logs(request)
        return self._subscribed(request)

    async def _subscribed(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        try:
            await self._link.wait_leader()
        except LeadsHere:
            local = self._local()
            if local is None:
                raise NoLeader from None
            async with aclosing(local.subscribe_logs(request)) as lines:
                async for message in lines:
                    yield message
            return
        try:
            async with self._link.open(*_SUBSCRIBE) as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    yield message
                await stream.recv_trailing_metadata()
        except GRPCError as error:
            raise RpcError(error.status, error.message or "") from error
        except Broken as fault:
            raise Unavailable(f"connection to the leader was lost: {fault or type(fault).__name__}") from fault


# Only the calls' paths and message types are used here; nobody answers these.
_HANDLERS = ControlService(lambda: None).__mapping__()
_SUBSCRIBE = next(iter(LogsService(lambda: None).__mapping__().items()))
