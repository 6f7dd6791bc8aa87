"""gRPC services whose implementation only exists during a leader's term, for a server that lives longer.

In: a generated service base, and a function that returns the part of the term that answers (the dispatcher, Control).
Out: a service for `ManagerServer`. Between terms every call fails with NoLeader.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogsBase
from shoal.errors import NoLeader, ShoalError
from shoal.manager.control import ControlRpcs
from shoal.manager.control.rpcs import RPCS, Part, Reply, Request, Rpc


class LogBroker(Protocol):
    """The part that answers `docker.swarmkit.v1.Logs`."""

    def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        """Return the logs that a request selects, as they come. Raises InvalidArgument at once."""


class TermService:
    """A service whose methods are those of the object that `current` returns at each call. None raises NoLeader."""

    def __init__(self, base: type, current: Callable[[], Any]) -> None:
        methods = {name: _method(current, name) for name in getattr(base, "__abstractmethods__", ())}
        self._servicer: Any = type(base.__name__, (base,), methods)()

    def __mapping__(self) -> Mapping[str, Handler]:
        mapping: Mapping[str, Handler] = self._servicer.__mapping__()
        return mapping


def _method(current: Callable[[], Any], name: str) -> Callable[[Any, Any], Awaitable[None]]:
    async def call(_servicer: Any, stream: Any) -> None:
        await getattr(_there(current()), name)(stream)

    return call


class ControlService:
    """`docker.swarmkit.v1.Control`, answered by the Control that `current` returns at each call. None: NoLeader."""

    def __init__(self, current: Callable[[], ControlRpcs | None]) -> None:
        self._current = current

    def __mapping__(self) -> Mapping[str, Handler]:
        return {
            rpc.path: Handler(self._answer(rpc), Cardinality.UNARY_UNARY, rpc.request_type, rpc.reply_type)
            for rpc in RPCS
        }

    def _answer(self, rpc: Rpc[Any, Request, Reply]) -> Callable[[Stream[Request, Reply]], Awaitable[None]]:
        async def answer(stream: Stream[Request, Reply]) -> None:
            control = _there(self._current())
            await stream.send_message(await control.carry_out(rpc, await _request(stream)))

        return answer


class LogsService(LogsBase):
    """`docker.swarmkit.v1.Logs`, answered by the broker that `current` returns at each call. None: NoLeader."""

    def __init__(self, current: Callable[[], LogBroker | None]) -> None:
        self._current = current

    async def SubscribeLogs(  # noqa: N802
        self, stream: Stream[api.SubscribeLogsRequest, api.SubscribeLogsMessage]
    ) -> None:
        """Send the logs that a request selects."""
        broker = _there(self._current())
        async with aclosing(broker.subscribe_logs(await _request(stream))) as messages:
            async for message in messages:
                await stream.send_message(message)


def _there(part: Part | None) -> Part:
    if part is None:
        raise NoLeader
    return part


async def _request(stream: Stream[Request, Any]) -> Request:
    request = await stream.recv_message()
    if request is None:
        raise ShoalError("the call ended without a request")
    return request
