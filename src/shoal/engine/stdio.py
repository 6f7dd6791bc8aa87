"""Carries a process's stdio over a raw connection, for `attach` and `exec`.

Source of the rules for the end of a session: moby daemon/internal/stream/attach.go (CopyStreams).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from shoal.engine.detach_keys import DetachFilter
from shoal.engine.hijack import RawConnection
from shoal.engine.streams import STREAM_NUMBERS, ending, frame


@dataclass(frozen=True, slots=True)
class Session:
    """What a client wants from a process's stdio."""

    tty: bool  # the process has a terminal, so the input is checked for detach keys
    framed: bool  # the output is sent in frames that name the stream
    streams: frozenset[str]  # stdout, stderr or both
    wants_input: bool
    closes_stdin: bool  # the end of the client's input ends the process's input; otherwise it ends the session
    detach_keys: bytes = b""


@contextlib.asynccontextmanager
async def held(attachment: Any) -> AsyncIterator[Any]:
    """Close an attachment at the end of the block."""
    try:
        yield attachment
    finally:
        await attachment.close()


async def pump(client: RawConnection, attachment: Any, session: Session) -> None:
    """Carry bytes both ways until the process ends its output, or the client goes away or detaches."""
    async with asyncio.TaskGroup() as group:
        ways = {
            group.create_task(_output(client, attachment, session), name="output to a client"),
            group.create_task(_input(client, attachment, session), name="input from a client"),
        }
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()


async def _output(client: RawConnection, attachment: Any, session: Session) -> None:
    async with ending(attachment.output()) as output:
        async for stream, data in output:
            # A terminal has one stream for both.
            if not session.tty and stream not in session.streams:
                continue
            try:
                await client.write(frame(STREAM_NUMBERS[stream], data) if session.framed else data)
            except ConnectionError:
                return  # the client went away; the process stays


async def _input(client: RawConnection, attachment: Any, session: Session) -> None:
    keys = DetachFilter(session.detach_keys) if session.tty else None
    while data := await client.read():
        if not session.wants_input:
            continue
        typed, detached = keys.feed(data) if keys else (data, False)
        if typed:
            await attachment.write(typed)
        if detached:
            return
    if client.lost:
        return
    if session.wants_input:
        if not session.closes_stdin:
            return
        await attachment.close_stdin()
    await client.wait_lost()
