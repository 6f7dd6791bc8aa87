"""Commands run inside a container: create, start with a raw connection or detached, resize, inspect."""

from typing import Any

from aiohttp import web

from shoal.engine.container_streams import pump
from shoal.engine.hijack import RawConnection, after_hijack
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.engine.streams import stream_type
from shoal.errors import InvalidArgument
from shoal.runtime.exec import ExecConfig


def _strings(body: dict[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key) or []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"invalid JSON: {key} must be a list of strings")
    return tuple(value)


async def create_exec(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/exec."""
    body = await call.json_object()
    command = _strings(body, "Cmd")
    if not command:
        raise InvalidArgument("No exec command specified")
    config = ExecConfig(
        command=command,
        env=_strings(body, "Env"),
        working_dir=str(body.get("WorkingDir") or ""),
        user=str(body.get("User") or ""),
        tty=bool(body.get("Tty")),
        privileged=bool(body.get("Privileged")),
        attach_stdin=bool(body.get("AttachStdin")),
        attach_stdout=bool(body.get("AttachStdout")),
        attach_stderr=bool(body.get("AttachStderr")),
        detach_keys=str(body.get("DetachKeys") or ""),
    )
    return json_reply({"Id": call.backend.execs.create(call.path["id"], config)}, 201)


async def start_exec(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/start: the process's stdio on this connection, or nothing with `Detach`."""
    body = await call.json_object()
    execs = call.backend.execs
    exec_id = execs.get(call.path["id"]).id
    config = execs.get(exec_id).config
    size = body.get("ConsoleSize")
    attachment = await execs.start(exec_id)
    try:
        if config.tty and isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):
            await execs.resize(exec_id, size[0], size[1])
        if body.get("Detach"):
            return empty_reply(200)
        streams = {
            name for name, wanted in (("stdout", config.attach_stdout), ("stderr", config.attach_stderr)) if wanted
        }
        async with RawConnection(call, stream_type(call, config.tty)) as client:
            await pump(client, attachment, tty=config.tty, streams=streams, wants_input=config.attach_stdin)
    finally:
        await attachment.close()
    return after_hijack()


async def resize_exec(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/resize?h=&w=."""
    await call.backend.execs.resize(call.path["id"], call.integer("h"), call.integer("w"))
    return empty_reply(200)


async def inspect_exec(call: Call) -> web.StreamResponse:
    """GET /exec/{id}/json."""
    found = call.backend.execs.get(call.path["id"])
    config = found.config
    return json_reply(
        {
            "ID": found.id,
            "Running": found.running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {
                "tty": config.tty,
                "entrypoint": config.command[0],
                "arguments": list(config.command[1:]),
                "privileged": config.privileged,
            }
            | ({"user": config.user} if config.user else {}),
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": not found.running,
            "ContainerID": found.container_id,
            "DetachKeys": config.detach_keys,
            "Pid": found.pid,
        }
    )


ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/containers/{id}/exec", create_exec),
    ("POST", "/exec/{id}/start", start_exec),
    ("POST", "/exec/{id}/resize", resize_exec),
    ("GET", "/exec/{id}/json", inspect_exec),
]
