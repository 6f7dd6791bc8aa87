"""The streams of a container: logs, statistics, attached stdio, terminal size, and waiting for its end.

Source of semantics and texts: moby daemon/server/router/container/container_routes.go, daemon/{logs,stats,attach}.go.
"""

import asyncio
import re
from collections.abc import AsyncIterator

from aiohttp import web

from shoal.api import times
from shoal.engine import detach_keys
from shoal.engine.hijack import RawConnection, after_hijack
from shoal.engine.parameters import uint32
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.engine.stats_json import stats_json
from shoal.engine.stdio import Session, held, pump
from shoal.engine.streams import (
    STREAM_NUMBERS,
    SYSTEM_ERROR,
    ending,
    frame,
    start_json_stream,
    start_stream,
    stream_type,
    write_json,
)
from shoal.engine.timestamps import unix_timestamp
from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError
from shoal.runtime.types import Container, LogLine, LogOptions, Phase, Stats

STATS_PERIOD = 1.0  # seconds between two readings, Docker's own


def log_options(call: Call) -> LogOptions:
    """Read the query of a logs call."""
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not (stdout or stderr):
        raise InvalidArgument("must specify at least one of 'stdout' or 'stderr'")
    until = call.query("until")
    tail = call.query("tail")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=call.flag("follow"),
        since_nanos=unix_timestamp(call.query("since"), '"since"'),
        until_nanos=0 if until == "0" else unix_timestamp(until, '"until"'),
        # A negative number, or no number, means all lines: moby daemon/logs.go.
        tail=int(tail) if re.fullmatch(r"\+?[0-9]{1,18}", tail) else None,
    )


def log_stamp(at_nanos: int) -> str:
    """Return a log line's time: RFC 3339 with nine digits of fraction."""
    return times.rfc3339_nanos(at_nanos)


async def logs(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/logs."""
    options = log_options(call)
    container = call.backend.containers.get(call.path["id"])
    if container.phase in (Phase.REMOVING, Phase.DEAD):
        raise Conflict("can not get logs from container which is dead or marked for removal")
    tty = container.config.tty
    lines = call.backend.containers.logs(container.id, options)
    stamps, details = call.flag("timestamps"), call.flag("details")
    async with ending(lines):
        response = await start_stream(call, stream_type(call, tty))
        try:
            async for line in lines:
                await response.write(_encoded(line, tty, stamps=stamps, details=details))
        except ShoalError as error:
            # The head was sent already, so the error is the last line of the stream.
            text = f"Error grabbing logs: {error}\n".encode()
            await response.write(text if tty else frame(SYSTEM_ERROR, text))
    await response.write_eof()
    return response


def _encoded(line: LogLine, tty: bool, *, stamps: bool = False, details: bool = False) -> bytes:
    # Lines here have no attributes, so `details` only adds the blank that Docker puts after them.
    data = b" " + line.data if details else line.data
    if stamps:
        data = f"{log_stamp(line.at_nanos)} ".encode() + data
    return data if tty else frame(STREAM_NUMBERS[line.stream], data)


async def stats(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/stats: each second, or once with `stream=false` (read twice, so that rates are known)."""
    container = call.backend.containers.get(call.path["id"])
    if call.flag("stream", True):
        return await _stats_stream(call, container)
    if container.phase is not Phase.RUNNING:
        return json_reply(stats_json(container, None, None))
    first = None
    if not (call.api >= 41 and call.flag("one-shot")):
        first = await _reading(call, container)
        await asyncio.sleep(STATS_PERIOD)
    return json_reply(stats_json(container, await _reading(call, container), first))


async def _stats_stream(call: Call, container: Container) -> web.StreamResponse:
    response = await start_json_stream(call)
    previous: Stats | None = None
    while True:
        try:
            container = call.backend.containers.get(container.id)
        except NotFound:
            break
        # A stopped container is reported too, with empty numbers, until it runs again or is removed.
        now = await _reading(call, container) if container.phase is Phase.RUNNING else None
        await write_json(response, stats_json(container, now, previous))
        previous = now
        await asyncio.sleep(STATS_PERIOD)
    await response.write_eof()
    return response


async def _reading(call: Call, container: Container) -> Stats | None:
    try:
        return await call.backend.containers.stats(container.id)
    except (NotFound, Conflict):
        return None  # it ended, or was removed, meanwhile


async def resize(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/resize?h=&w=."""
    height, width = uint32(call, "h", "resize height"), uint32(call, "w", "resize width")
    await call.backend.containers.resize(call.path["id"], height, width)
    return empty_reply(200)


async def attach(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/attach: output from now on, or from the start with `logs`; input with `stdin`."""
    keys = detach_keys.parse(call.query("detachKeys"), "Invalid detach keys (%s) provided")
    container = call.backend.containers.get(call.path["id"])
    tty = container.config.tty
    session = Session(
        tty=tty,
        framed=not tty,
        streams=frozenset(name for name in ("stdout", "stderr") if call.flag(name)),
        wants_input=call.flag("stdin") and container.config.open_stdin,
        # Other clients may be attached as well, and more come later.
        closes_stdin=False,
        detach_keys=keys,
    )
    connection = RawConnection(call, multiplexed=session.framed)
    if not call.flag("stream"):
        async with connection as client:
            await _send_logs(call, client, container, session)
        return after_hijack()
    attachment = await call.backend.containers.attach(container.id)
    async with connection as client, held(attachment):
        await _send_logs(call, client, container, session)
        await pump(client, attachment, session)
    return after_hijack()


async def _send_logs(call: Call, client: RawConnection, container: Container, session: Session) -> None:
    if not call.flag("logs") or not session.streams:
        return
    options = LogOptions(stdout="stdout" in session.streams, stderr="stderr" in session.streams)
    async with ending(call.backend.containers.logs(container.id, options)) as lines:
        async for line in lines:
            try:
                await client.write(_encoded(line, session.tty))
            except ConnectionError:
                return  # the client went away


async def wait(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/wait?condition=: sends the head at once, and the exit code when it is known."""
    condition = call.query("condition") if call.api >= 30 else ""
    if condition not in {"", "not-running", "next-exit", "removed"}:
        raise InvalidArgument(f'invalid condition: "{condition}"')
    changes = call.backend.containers.changes(call.backend.containers.get(call.path["id"]).id)
    async with ending(changes):
        # Watched before the head is sent, because a client that has the head may start or end the container.
        container = await anext(changes)
        response = await start_json_stream(call)
        container = await _ended(container, changes, condition)
    shown: dict[str, object] = {"StatusCode": container.exit_code}
    if container.error:
        shown["Error"] = {"Message": container.error}
    await write_json(response, shown)
    await response.write_eof()
    return response


async def _ended(container: Container, changes: AsyncIterator[Container], condition: str) -> Container:
    """Return the container when the condition holds. If it is removed before that, return its last value."""
    if condition in ("", "not-running") and container.phase is not Phase.RUNNING:
        return container
    async for now in changes:
        was, container = container.phase, now
        if condition != "removed" and was is Phase.RUNNING and now.phase is not Phase.RUNNING:
            break
    return container
