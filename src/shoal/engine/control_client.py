"""Calls to the manager's Control, as the Engine makes them: a deadline, and errors rendered as gRPC renders them.

Docker reaches its manager by gRPC even on the same host, and people (and their scripts) know the texts
`rpc error: code = NotFound desc = ...`. Errors of the Engine itself stay bare: only what `rpc` awaits is wrapped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpclib.const import Status

from shoal.engine.errors import RpcError
from shoal.errors import ShoalError

# Source: moby daemon/cluster/cluster.go, swarmRequestTimeout.
CONTROL_TIMEOUT = 20.0

Request = TypeVar("Request")
Reply = TypeVar("Reply")


async def rpc(method: Callable[[Request], Awaitable[Reply]], request: Request) -> Reply:
    """Return what a method of the Control (or of another part of a manager) answers. Raises RpcError."""
    try:
        async with asyncio.timeout(CONTROL_TIMEOUT):
            return await method(request)
    except ShoalError as error:
        raise rendered(error) from error
    except TimeoutError as error:
        raise RpcError(Status.DEADLINE_EXCEEDED, "context deadline exceeded") from error


def rendered(error: ShoalError) -> RpcError:
    """Return an error of a manager as Docker shows it."""
    return error if isinstance(error, RpcError) else RpcError(error.grpc_status, str(error))
