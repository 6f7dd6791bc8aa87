"""Services that exist for the length of a leader's term, behind a server that outlives it.

In: a generated service base, and what returns the part of the term that answers (the dispatcher, Control). Out: a
service for `ManagerServer`. Between terms every call is told that this manager does not lead.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from grpclib.const import Handler

from shoal.api import v1 as api
from shoal.api.gen.control_grpc import ControlBase
from shoal.api.gen.logbroker_grpc import LogsBase
from shoal.errors import NoLeader, ShoalError

# How a method of a service is carried out by the part that is there for it.
Carry = Callable[[Any, Any], Awaitable[None]]


class TermService:
    """A service whose methods are those of what `current` returns at the time of a call; None: NoLeader."""

    def __init__(self, base: type, current: Callable[[], Any], carry: Callable[[str], Carry] | None = None) -> None:
        carry = carry or _as_servicer
        methods = {name: _method(current, carry(name)) for name in getattr(base, "__abstractmethods__", ())}
        self._servicer: Any = type(base.__name__, (base,), methods)()

    def __mapping__(self) -> Mapping[str, Handler]:
        mapping: Mapping[str, Handler] = self._servicer.__mapping__()
        return mapping


def control_service(current: Callable[[], Any]) -> TermService:
    """Return `docker.swarmkit.v1.Control` over an object with its methods in snake case."""
    return TermService(ControlBase, current, _as_call)


def logs_service(current: Callable[[], Any]) -> TermService:
    """Return `docker.swarmkit.v1.Logs` over an object with `subscribe_logs`."""
    return TermService(LogsBase, current, lambda name: _subscribe_logs)


def snake_case(name: str) -> str:
    """Return the name of a method of ours for one of gRPC's."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _method(current: Callable[[], Any], carry: Carry) -> Callable[[Any, Any], Awaitable[None]]:
    async def call(_servicer: Any, stream: Any) -> None:
        part = current()
        if part is None:
            raise NoLeader
        await carry(part, stream)

    return call


def _as_servicer(name: str) -> Carry:
    async def carry(part: Any, stream: Any) -> None:
        await getattr(part, name)(stream)

    return carry


def _as_call(name: str) -> Carry:
    method = snake_case(name)

    async def carry(part: Any, stream: Any) -> None:
        await stream.send_message(await getattr(part, method)(await _request(stream)))

    return carry


async def _subscribe_logs(part: Any, stream: Any) -> None:
    messages: AsyncIterator[api.SubscribeLogsMessage] = part.subscribe_logs(await _request(stream))
    async with aclosing(messages) as lines:  # type: ignore[type-var]
        async for message in lines:
            await stream.send_message(message)


async def _request(stream: Any) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise ShoalError("the call ended without a request")
    return request
