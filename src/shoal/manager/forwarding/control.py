"""Control and Logs as any manager offers them to its own host: here while it leads, else at the leader's.

In: requests of the Engine API. Out: replies, or errors that show as Docker's: `RpcError` with what the leader said.
The object is the same whoever leads; a call that meets a change of the lead goes where the lead has gone, as long as
nothing of it was done.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from grpclib.const import Handler
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.control_grpc import ControlBase
from shoal.api.gen.logbroker_grpc import LogsBase
from shoal.errors import NoLeader, RpcError, Unavailable
from shoal.manager.forwarding.leader_link import Broken, LeaderLink, LeadsHere
from shoal.manager.forwarding.services import TermService, snake_case
from shoal.manager.logs.broker import check_selector

ATTEMPTS = 10  # each follows a change of the lead


class RemoteControl:
    """Every RPC of Control as an async method in snake case. `local` returns this manager's own Control in its term."""

    def __init__(self, link: LeaderLink, local: Callable[[], Any]) -> None:
        self._link = link
        self._local = local

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        """Return an RPC's method."""
        found = _CONTROL.get(name)
        if found is None:
            raise AttributeError(name)
        path, handler = found
        # What was created may have been removed by somebody else before it is asked for again: it would come back.
        repeatable = not name.startswith("create_")

        async def call(request: Any) -> Any:
            for _ in range(ATTEMPTS):
                local = self._local()
                try:
                    if local is not None:
                        return await getattr(local, name)(request)
                    return await self._link.call(path, handler, request, repeatable=repeatable)
                except LeadsHere:
                    await self._link.wait_settled()
                except NoLeader as moved:
                    # `call` has waited for a leader when it says that there is none. Here it was surely not done only
                    # where the store says just that it does not lead.
                    if local is None or str(moved) != str(NoLeader()):
                        raise
                    await self._link.wait_settled()
                except GRPCError as error:
                    raise RpcError(error.status, error.message or "") from error
            raise NoLeader("the lead of the swarm keeps changing: try again")

        return call


class RemoteLogs:
    """The log broker, likewise."""

    def __init__(self, link: LeaderLink, local: Callable[[], Any]) -> None:
        self._link = link
        self._local = local

    def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        """Return the logs that a request selects, as they come. Raises InvalidArgument at once."""
        check_selector(request)
        local = self._local()
        if local is not None:
            lines: AsyncGenerator[api.SubscribeLogsMessage, None] = local.subscribe_logs(request)
            return lines
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


def _rpcs(base: type) -> dict[str, tuple[str, Handler]]:
    mapping = TermService(base, lambda: None).__mapping__()
    return {snake_case(path.rpartition("/")[2]): (path, handler) for path, handler in mapping.items()}


_CONTROL = _rpcs(ControlBase)
_SUBSCRIBE = _rpcs(LogsBase)["subscribe_logs"]
