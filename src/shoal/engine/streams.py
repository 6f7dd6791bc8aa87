"""Answers without a fixed length: frames of a container's output, and sequences of JSON values.

A frame is Docker's: a header of 8 bytes (stream, three zero bytes, length in big-endian order), then the data. Source:
moby pkg/stdcopy.
"""

import asyncio
import contextlib
import struct
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal, TypeVar

from aiohttp import web

from shoal.engine.replies import JSON_TYPE, json_bytes
from shoal.engine.requests import Call

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
STREAM_NUMBERS: dict[Literal["stdout", "stderr"], int] = {"stdout": STDOUT, "stderr": STDERR}

RAW_TYPE = "application/vnd.docker.raw-stream"
MULTIPLEXED_TYPE = "application/vnd.docker.multiplexed-stream"

# Long calls. They are cancelled when the daemon stops, so that it need not wait for them.
OPEN_STREAMS: web.AppKey["weakref.WeakSet[asyncio.Task[Any]]"] = web.AppKey("open_streams", weakref.WeakSet)

_HEADER = struct.Struct(">BxxxL")

T = TypeVar("T")


def frame(stream: int, data: bytes) -> bytes:
    """Return data with Docker's frame header."""
    return _HEADER.pack(stream, len(data)) + data


def stream_type(call: Call, tty: bool) -> str:
    """Return the media type of a container's output. Clients before 1.42 only know the raw one."""
    return RAW_TYPE if tty or call.api < 42 else MULTIPLEXED_TYPE


@contextlib.asynccontextmanager
async def ending(values: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an async iterator at the end of the block, because it may hold files and subscriptions."""
    try:
        yield values
    finally:
        if isinstance(values, AsyncGenerator):
            await values.aclose()


def end_with_daemon(call: Call) -> None:
    """Mark the present call as a long one, which is cancelled when the daemon stops."""
    child = asyncio.current_task()
    if child is not None:
        call.http.app[OPEN_STREAMS].add(child)


async def start_stream(call: Call, media_type: str) -> web.StreamResponse:
    """Send the head of an answer whose body comes later, so that the client sees it at once."""
    end_with_daemon(call)
    response = web.StreamResponse(headers={"Content-Type": media_type})
    await response.prepare(call.http)
    # Otherwise aiohttp would send the head only with the first byte of the body, for which a client may wait long.
    await response.write(b"")
    return response


async def write_json(response: web.StreamResponse, value: Any) -> None:
    """Send one JSON value of a stream, with a newline."""
    await response.write(json_bytes(value) + b"\n")


async def start_json_stream(call: Call) -> web.StreamResponse:
    """Send the head of an answer that has one JSON value per line."""
    return await start_stream(call, JSON_TYPE)
