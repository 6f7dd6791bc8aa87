"""Commands run inside a container: create, start with a raw connection or detached, resize, inspect.

Source of semantics and texts: moby daemon/server/router/container/exec.go, daemon/exec.go.
"""

import base64
from typing import Any

from aiohttp import web

from shoal.engine import detach_keys
from shoal.engine.body import Body
from shoal.engine.codec.kinds import ListOf, Whole
from shoal.engine.hijack import RawConnection, after_hijack
from shoal.engine.parameters import uint32
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.engine.stdio import Session, held, pump
from shoal.engine.streams import STDOUT, frame
from shoal.errors import Conflict, InvalidArgument, ShoalError
from shoal.runtime.types import Exec, ExecConfig, Phase

_SIDES = ListOf(Whole("uint64"))
_BAD_KEYS = "Invalid escape keys (%s) provided"
# The kernel's terminals count their rows and columns in 16 bits.
_MAX_SIDE = 0xFFFF


def _console_size(call: Call, body: Body) -> tuple[int, int] | None:
    """Return height and width of the terminal, or None if the client does not give them. They came with API 1.42."""
    if call.api < 42:
        return None
    sides = body.value("ConsoleSize", _SIDES, None)
    if sides is None:
        return None
    # Go reads a list into an array of two: a missing number is 0, and more numbers are ignored.
    height, width = [*(min(side, _MAX_SIDE) for side in sides), 0, 0][:2]
    return height, width


async def create_exec(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/exec."""
    body = await Body.read(call, "ExecCreateRequest")
    command = body.texts("Cmd")
    if not command:
        raise InvalidArgument("No exec command specified")
    keys = body.text("DetachKeys")
    detach_keys.parse(keys, _BAD_KEYS)
    config = ExecConfig(
        command=command,
        env=body.texts("Env"),
        working_dir=body.text("WorkingDir"),
        user=body.text("User"),
        tty=body.flag("Tty"),
        privileged=body.flag("Privileged"),
        attach_stdin=body.flag("AttachStdin"),
        attach_stdout=body.flag("AttachStdout"),
        attach_stderr=body.flag("AttachStderr"),
        detach_keys=keys,
    )
    _console_size(call, body)  # only checked here; `start` gives it again and uses it
    return json_reply({"Id": call.backend.execs.create(call.path["id"], config)}, 201)


async def start_exec(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/start: the process's stdio on this connection, or nothing with `Detach`.

    An error after the head was sent is written to the output, as in Docker.
    """
    body = await Body.read(call, "ExecStartRequest")
    tty = body.flag("Tty")
    size = _console_size(call, body) if tty else None
    found = _startable(call)
    if body.flag("Detach"):
        async with held(await call.backend.execs.start(found.id, detach=True, size=size)):
            return empty_reply(200)
    config = found.config
    session = Session(
        tty=config.tty,
        framed=not tty,
        streams=frozenset(
            name for name, wanted in (("stdout", config.attach_stdout), ("stderr", config.attach_stderr)) if wanted
        ),
        wants_input=config.attach_stdin,
        closes_stdin=not config.tty,
        detach_keys=detach_keys.parse(config.detach_keys, _BAD_KEYS),
    )
    async with RawConnection(call, multiplexed=session.framed) as client:
        try:
            attachment = await call.backend.execs.start(found.id, size=size)
        except ShoalError as error:
            await _tell(client, f"{error}\r\n".encode(), session)
            return after_hijack()
        async with held(attachment):
            await pump(client, attachment, session)
    return after_hijack()


def _startable(call: Call) -> Exec:
    """Return the exec. Raises NotFound, or Conflict if its container does not run."""
    found = call.backend.execs.get(call.path["id"])
    container = call.backend.containers.get(found.container_id)
    if container.phase is not Phase.RUNNING:
        raise Conflict(f"container {container.id} is not running")
    return found


async def _tell(client: RawConnection, text: bytes, session: Session) -> None:
    try:
        await client.write(frame(STDOUT, text) if session.framed else text)
    except ConnectionError:
        return  # the client went away


async def resize_exec(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/resize?h=&w=."""
    height, width = uint32(call, "h", "resize height"), uint32(call, "w", "resize width")
    await call.backend.execs.resize(call.path["id"], height, width)
    return empty_reply(200)


async def inspect_exec(call: Call) -> web.StreamResponse:
    """GET /exec/{id}/json."""
    return json_reply(exec_json(call.backend.execs.get(call.path["id"])))


def exec_json(found: Exec) -> dict[str, Any]:
    """Return an exec in Docker's shape. Source: moby api/types/container/exec.go (ExecInspectResponse)."""
    config = found.config
    process: dict[str, Any] = {
        "tty": config.tty,
        "entrypoint": config.command[0],
        "arguments": list(config.command[1:]),
        "privileged": config.privileged,
    }
    if config.user:
        process["user"] = config.user
    keys = detach_keys.parse(config.detach_keys, _BAD_KEYS)
    return {
        "ID": found.id,
        "Running": found.running,
        "ExitCode": found.exit_code,
        "ProcessConfig": process,
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": found.exit_code is not None,
        "ContainerID": found.container_id,
        "DetachKeys": base64.b64encode(keys).decode(),  # Go writes bytes as base64
        "Pid": found.pid,
    }


ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/containers/{id}/exec", create_exec),
    ("POST", "/exec/{id}/start", start_exec),
    ("POST", "/exec/{id}/resize", resize_exec),
    ("GET", "/exec/{id}/json", inspect_exec),
]
