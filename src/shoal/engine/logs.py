"""Logs of services and tasks: the lines that the log broker collects from the nodes, framed as in Docker.

Source of semantics and texts: moby daemon/cluster/services.go (ServiceLogs), daemon/server/httputils/logstream.
"""

from collections.abc import AsyncGenerator
from urllib.parse import quote_plus

from aiohttp import web

from shoal.api import times
from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.container_streams import log_stamp
from shoal.engine.control_client import rendered
from shoal.engine.requests import Call
from shoal.engine.streams import STDERR, STDOUT, SYSTEM_ERROR, frame, start_stream, stream_type
from shoal.engine.timestamps import unix_timestamp
from shoal.errors import InvalidArgument, ShoalError

# The prefix of the attributes that say where a line is from. A container's own attributes cannot override them.
CONTEXT = "com.docker.swarm"

_STREAMS = {api.LOG_STREAM_STDOUT: STDOUT, api.LOG_STREAM_STDERR: STDERR}


async def service_logs(call: Call) -> web.StreamResponse:
    """GET /services/{id}/logs."""
    options = _options(call)
    service = await lookups.find_service(call.backend.node.control(), call.path["id"])
    return await _answer(call, api.LogSelector(service_ids=[service.id]), options, service.spec.task)


async def task_logs(call: Call) -> web.StreamResponse:
    """GET /tasks/{id}/logs."""
    options = _options(call)
    task = await lookups.find_task(call.backend.node.control(), call.path["id"])
    return await _answer(call, api.LogSelector(task_ids=[task.id]), options, task.spec)


def _options(call: Call) -> api.LogSubscriptionOptions:
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not stdout and not stderr:
        raise InvalidArgument("must specify at least one of 'stdout' or 'stderr'")
    options = api.LogSubscriptionOptions(follow=call.flag("follow"))
    options.streams.extend([api.LOG_STREAM_STDOUT] * stdout + [api.LOG_STREAM_STDERR] * stderr)
    since = unix_timestamp(call.query("since"), '"since"')
    if since:
        options.since.CopyFrom(times.timestamp_from_nanos(since))
    return options


def _tail(text: str) -> int:
    """Return the tail in SwarmKit's encoding: 0 is all, -1 nothing, -(n + 1) the last n lines. Raises ShoalError."""
    if text in ("", "all"):
        return 0
    try:
        lines = int(text)
    except ValueError:
        raise ShoalError('tail value must be a positive integer or "all"') from None
    if lines < 0:
        raise ShoalError("negative tail values not supported")
    return -(lines + 1)


async def _answer(
    call: Call, selector: api.LogSelector, options: api.LogSubscriptionOptions, task: api.TaskSpec
) -> web.StreamResponse:
    options.tail = _tail(call.query("tail"))
    if not task.HasField("container"):
        raise ShoalError("logs only supported on container tasks")
    tty = task.container.tty
    # Called before the answer begins, so that a node without a manager can still answer 503.
    messages = call.backend.node.logs().subscribe_logs(api.SubscribeLogsRequest(selector=selector, options=options))
    response = await start_stream(call, stream_type(call, tty))
    stamps, details = call.flag("timestamps"), call.flag("details")
    try:
        async for batch in messages:
            lines = b"".join(_line(message, stamps, details, tty) for message in batch.messages)
            if lines:
                await response.write(lines)
    except ShoalError as error:
        # The head was sent already, so the error is the last line of the stream.
        text = f"Error grabbing logs: {rendered(error)}\n".encode()
        await response.write(text if tty else frame(SYSTEM_ERROR, text))
    finally:
        if isinstance(messages, AsyncGenerator):
            await messages.aclose()  # so that a client that went away leaves no subscription behind
    await response.write_eof()
    return response


def _line(message: api.LogMessage, stamps: bool, details: bool, tty: bool) -> bytes:
    stream = _STREAMS.get(message.stream)
    if stream is None:
        return b""
    data = message.data
    if details:
        data = f"{_details(message)} ".encode() + data
    if stamps:
        data = f"{log_stamp(message.timestamp.seconds * times.NANOS + message.timestamp.nanos)} ".encode() + data
    return data if tty else frame(stream, data)


def _details(message: api.LogMessage) -> str:
    attributes = {attribute.key: attribute.value for attribute in message.attrs}
    attributes[f"{CONTEXT}.node.id"] = message.context.node_id
    attributes[f"{CONTEXT}.service.id"] = message.context.service_id
    attributes[f"{CONTEXT}.task.id"] = message.context.task_id
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items()))


ROUTES = [
    ("GET", "/services/{id}/logs", service_logs),
    ("GET", "/tasks/{id}/logs", task_logs),
]
