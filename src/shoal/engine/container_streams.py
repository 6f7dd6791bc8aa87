"""What flows from and to a container: logs, statistics, attached stdio."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from shoal.engine.container_json import instant
from shoal.engine.hijack import RawConnection, after_hijack
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.engine.streams import STREAM_NUMBERS, frame, start_json_stream, start_stream, stream_type, write_json
from shoal.errors import InvalidArgument, NotFound
from shoal.runtime.types import Container, LogLine, LogOptions, Phase, Stats

NANOS = 1_000_000_000
STATS_PERIOD = 1.0  # seconds between two readings, Docker's own


def unix_nanos(text: str, name: str) -> int:
    """Read `since` or `until`: seconds since 1970 with an optional fraction; 0 for none."""
    if not text:
        return 0
    whole, _, fraction = text.partition(".")
    try:
        return int(whole) * NANOS + int((fraction + "000000000")[:9])
    except ValueError as error:
        raise InvalidArgument(f'invalid value for "{name}": {text}') from error


def log_options(call: Call) -> LogOptions:
    """Read the query of a logs call."""
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not (stdout or stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tail = call.query("tail", "all")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=call.flag("follow"),
        since_nanos=unix_nanos(call.query("since"), "since"),
        until_nanos=unix_nanos(call.query("until"), "until"),
        # Docker takes what is no number as "all" here: moby daemon/logs.go.
        tail=int(tail) if tail.isdigit() else None,
    )


def log_stamp(at_nanos: int) -> str:
    """Return a log line's time: RFC 3339 with nine digits of fraction."""
    seconds, nanos = divmod(at_nanos, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


async def logs(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/logs."""
    container = call.backend.containers.get(call.path["id"])
    options = log_options(call)
    response = await start_stream(call, stream_type(call, container.config.tty))
    stamps = call.flag("timestamps")
    async for line in call.backend.containers.logs(container.id, options):
        await response.write(_encoded(line, stamps, container.config.tty))
    await response.write_eof()
    return response


def _encoded(line: LogLine, stamps: bool, tty: bool) -> bytes:
    data = f"{log_stamp(line.at_nanos)} ".encode() + line.data if stamps else line.data
    return data if tty else frame(STREAM_NUMBERS[line.stream], data)


async def stats(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/stats: each second, or once with `stream=false` (read twice, so that rates are known)."""
    container = call.backend.containers.get(call.path["id"])
    if not call.flag("stream", True):
        if container.phase is not Phase.RUNNING:
            return json_reply(stats_json(container, None, None))
        first = None
        if not call.flag("one-shot"):
            first = await call.backend.containers.stats(container.id)
            await asyncio.sleep(STATS_PERIOD)
        return json_reply(stats_json(container, await call.backend.containers.stats(container.id), first))
    response = await start_json_stream(call)
    previous: Stats | None = None
    while True:
        try:
            container = call.backend.containers.get(container.id)
        except NotFound:
            break
        now = await call.backend.containers.stats(container.id) if container.phase is Phase.RUNNING else None
        await write_json(response, stats_json(container, now, previous))
        previous = now
        await asyncio.sleep(STATS_PERIOD)
    await response.write_eof()
    return response


def stats_json(container: Container, now: Stats | None, previous: Stats | None) -> dict[str, Any]:
    """Return one reading in Docker's shape, with the one before it. Source: moby api/types/container/stats.go."""
    return {
        "name": f"/{container.config.name}",
        "id": container.id,
        "read": instant(now.read_at) if now else instant(0),
        "preread": instant(previous.read_at) if previous else instant(0),
        "pids_stats": {}
        if now is None
        else {"current": now.pids} | ({"limit": now.pids_limit} if now.pids_limit else {}),
        "blkio_stats": _block_io(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(previous),
        "memory_stats": {}
        if now is None
        else {"usage": now.memory_usage_bytes, "stats": dict(now.memory_stats), "limit": now.memory_limit_bytes},
        "networks": {} if now is None else {name: dict(counters) for name, counters in now.networks.items()},
    }


def _cpu(reading: Stats | None) -> dict[str, Any]:
    usage = {
        "total_usage": reading.cpu_total_nanos if reading else 0,
        "usage_in_kernelmode": reading.cpu_system_nanos if reading else 0,
        "usage_in_usermode": reading.cpu_user_nanos if reading else 0,
    }
    throttling = {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
    if reading is None:
        return {"cpu_usage": usage, "throttling_data": throttling}
    return {
        "cpu_usage": usage,
        "system_cpu_usage": reading.host_cpu_nanos,
        "online_cpus": reading.online_cpus,
        "throttling_data": throttling,
    }


def _block_io(reading: Stats | None) -> dict[str, Any]:
    entries = [
        {"major": major, "minor": minor, "op": op.lower(), "value": value}
        for major, minor, op, value in (reading.block_io if reading else ())
    ]
    empty = (
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    )
    return {"io_service_bytes_recursive": entries or None} | dict.fromkeys(empty)


async def resize(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/resize?h=&w=."""
    await call.backend.containers.resize(call.path["id"], call.integer("h"), call.integer("w"))
    return empty_reply(200)


async def attach(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/attach: output from now on, or from the start with `logs`; input with `stdin`."""
    container = call.backend.containers.get(call.path["id"])
    wants_input = call.flag("stdin") and container.config.open_stdin
    streams = {name for name in ("stdout", "stderr") if call.flag(name)}
    tty = container.config.tty
    if not call.flag("stream") and not call.flag("logs"):
        return empty_reply(200)
    attachment = await call.backend.containers.attach(container.id) if call.flag("stream") else None
    try:
        async with RawConnection(call, stream_type(call, tty)) as client:
            if call.flag("logs"):
                options = LogOptions(stdout="stdout" in streams, stderr="stderr" in streams)
                async for line in call.backend.containers.logs(container.id, options):
                    await client.write(_encoded(line, False, tty))
            if attachment is not None:
                await pump(client, attachment, tty=tty, streams=streams, wants_input=wants_input)
    finally:
        if attachment is not None:
            await attachment.close()
    return after_hijack()


async def pump(client: RawConnection, attachment: Any, *, tty: bool, streams: set[str], wants_input: bool) -> None:
    """Carry bytes between a client and a process until the process ends its output or the client is gone."""
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(_input(client, attachment, wants_input), name="attach input")
        try:
            await _output(client, attachment.output(), tty, streams)
        except ConnectionError:
            pass  # the client went away; the process stays
        reader.cancel()


async def _output(
    client: RawConnection, output: AsyncIterator[tuple[Any, bytes]], tty: bool, streams: set[str]
) -> None:
    async for stream, data in output:
        if tty:
            await client.write(data)
        elif stream in streams:
            await client.write(frame(STREAM_NUMBERS[stream], data))


async def _input(client: RawConnection, attachment: Any, wants_input: bool) -> None:
    while data := await client.read():
        if wants_input:
            await attachment.write(data)
    if client.lost:
        await attachment.close()
    elif wants_input:
        await attachment.close_stdin()
