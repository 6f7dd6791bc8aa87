"""Calls the manager's Control for the Engine API, with a deadline, and gives errors the form of gRPC's.

Docker calls its manager by gRPC even on the same host, and people and scripts know texts like
`rpc error: code = NotFound desc = ...`. So errors of `rpc` get this form; other errors of the Engine API do not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpclib.const import Status

from shoal.engine.errors import RpcError
from shoal.errors import ShoalError

# Seconds. Source: moby daemon/cluster/cluster.go, swarmRequestTimeout.
CONTROL_TIMEOUT = 20.0

Request = TypeVar("Request")
Reply = TypeVar("Reply")


async def rpc(method: Callable[[Request], Awaitable[Reply]], request: Request) -> Reply:
    """Return the reply of a method of Control, or of another part of a manager. Raises RpcError."""
    try:
        async with asyncio.timeout(CONTROL_TIMEOUT):
            return await method(request)
    except ShoalError as error:
        raise rendered(error) from error
    except TimeoutError as error:
        raise RpcError(Status.DEADLINE_EXCEEDED, "context deadline exceeded") from error


def rendered(error: ShoalError) -> RpcError:
    """Return a manager's error in the form that Docker shows."""
    return error if isinstance(error, RpcError) else RpcError(error.grpc_status, str(error))
