"""Runs commands of users in running containers (`docker exec`).

In: a container and an ExecConfig. Out: an id, an Attachment once started, an exit code once ended. Execs are children
of this process: they end with the daemon.
"""

import asyncio
import fcntl
import os
import pty
import secrets
import stat
import struct
import termios
from dataclasses import dataclass, replace

from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.runtime import command
from shoal.runtime.attachment import Attachment, Stream, ToProcess
from shoal.runtime.containers import Containers
from shoal.runtime.types import Container, Exec, ExecConfig, Phase

__all__ = ["Exec", "ExecConfig", "Execs"]

# Ended execs that are kept, for clients that ask for the exit code. The oldest go first. moby drops them by time.
KEPT = 512

# The major numbers of the pseudo-terminals in /dev/pts (Linux, admin-guide/devices.txt).
_TERMINALS = range(136, 144)


@dataclass
class _Running:
    """A command that was started."""

    started: command.Started
    terminal: int | None  # our end, for resizing


@dataclass
class _Stdio:
    """Descriptors of an exec. `theirs` are closed after the start, the others after the end."""

    theirs: dict[int, int]
    outputs: dict[int, Stream]
    stdin: int | None


class _Caller:
    """The caller of a start, which may be cancelled at any moment. Then the attachment is closed."""

    def __init__(self) -> None:
        self._gone = False
        self._attachment: Attachment | None = None

    async def take(self, attachment: Attachment) -> None:
        """Keep the attachment after a successful start, or close it if the caller is gone."""
        self._attachment = attachment
        if self._gone:
            await attachment.close()

    async def leave(self) -> None:
        """Note that the caller is gone, and close the attachment."""
        self._gone = True
        if self._attachment is not None:
            await self._attachment.close()


class Execs:
    """All execs of this daemon."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._execs: dict[str, Exec] = {}
        self._running: dict[str, _Running] = {}

    def create(self, ref: str, config: ExecConfig) -> str:
        """Prepare an exec and return its id. Raises Conflict if the container does not run, InvalidArgument."""
        container = self._containers.get(ref)
        if container.phase is not Phase.RUNNING:
            raise Conflict(f"container {container.id} is not running")
        if not config.command:
            raise InvalidArgument("No exec command specified")
        id = secrets.token_hex(32)  # noqa: A001 - an exec's id
        self._execs[id] = Exec(id, container.id, config)
        self._containers.tools.tell(container, f"exec_create: {' '.join(config.command)}", execID=id)
        self._forget_old()
        return id

    def get(self, id: str) -> Exec:  # noqa: A002
        """Return an exec. Raises NotFound."""
        found = self._execs.get(id)
        if found is None:
            raise NotFound(f"No such exec instance: {id}")
        running = self._running.get(id)
        return replace(found, pid=running.started.inside_pid()) if running else found

    def ids_of(self, container_id: str) -> list[str]:
        """Return the ids of a container's execs that have not ended."""
        return [one.id for one in self._execs.values() if one.container_id == container_id and one.exit_code is None]

    async def start(
        self,
        id: str,  # noqa: A002
        *,
        detach: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Attachment:
        """Run an exec. `detach`: without stdio. `size`: (height, width) of its terminal. Raises NotFound, Conflict."""
        one = self.get(id)
        if one.exit_code is not None or one.running:
            raise Conflict(f"exec {id} has already run" if one.exit_code is not None else f"exec {id} is running")
        container = self._containers.get(one.container_id)
        if container.phase is not Phase.RUNNING:
            raise Conflict(f"container {container.id} is not running")
        self._execs[id] = replace(one, running=True)
        caller = _Caller()
        try:
            return await self._containers.tools.children.finish(
                self._start(self._execs[id], container, detach, size, caller), f"exec {id[:12]}"
            )
        except asyncio.CancelledError:
            await caller.leave()
            raise

    async def _start(
        self, one: Exec, container: Container, detach: bool, size: tuple[int, int] | None, caller: _Caller
    ) -> Attachment:
        stdio = _Stdio({}, {}, None)
        try:
            if one.config.tty or not detach:
                _open(stdio, one.config, size)
            else:
                stdio.theirs = dict.fromkeys((0, 1, 2), os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            tools = self._containers.tools
            started = await tools.workers.run(command.start, tools.site, container, one.config, stdio.theirs)
        except BaseException:
            self._execs[one.id] = replace(one, running=False, exit_code=126)
            for fd in {*stdio.outputs, *(() if stdio.stdin is None else (stdio.stdin,))}:
                os.close(fd)
            raise
        finally:
            for fd in set(stdio.theirs.values()):
                os.close(fd)
        terminal = os.dup(next(iter(stdio.outputs))) if one.config.tty else None
        self._running[one.id] = _Running(started, terminal)
        self._containers.tools.tell(container, f"exec_start: {' '.join(one.config.command)}", execID=one.id)
        verdict: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        attachment = ToProcess(
            stdio.outputs, stdio.stdin, os.dup(started.child.fd), verdict, self._abandon, tty=one.config.tty
        )
        following = self._follow(one.id, container, started, verdict)
        self._containers.tools.children.start(following, f"end of exec {one.id[:12]}")
        await caller.take(attachment)
        return attachment

    async def _follow(
        self,
        id: str,  # noqa: A002
        container: Container,
        started: command.Started,
        verdict: "asyncio.Future[str]",
    ) -> None:
        why = ""
        try:
            code, why = started.explain(await started.child.wait())
        except BaseException:
            code = 137
            raise
        finally:
            running = self._running.pop(id)
            if running.terminal is not None:
                os.close(running.terminal)
            pid = started.inside_pid()
            started.close()
            self._execs[id] = replace(self._execs[id], running=False, pid=pid, exit_code=code)
            verdict.set_result(why)
        self._containers.tools.tell(container, "exec_die", execID=id, exitCode=str(code))

    def _abandon(self, attachment: ToProcess) -> None:
        """Read on after the client has gone. Otherwise the command would block on its output, or die of SIGPIPE."""
        self._containers.tools.children.start(attachment.drain(), "drain an exec")

    async def resize(self, id: str, height: int, width: int) -> None:  # noqa: A002
        """Set the size of its terminal. Raises Conflict if it does not run or has none."""
        running = self._running.get(self.get(id).id)
        if running is None or running.terminal is None:
            raise Conflict(f"exec {id} is not running, or has no terminal")
        _set_size(running.terminal, height, width)
        # Not every runtime passes the size on, so it is also set on the terminal inside.
        pid = running.started.inside_pid()
        inside = terminal_of(pid)
        if inside is None:
            return
        try:
            _set_size(inside, height, width)
        finally:
            os.close(inside)

    def _forget_old(self) -> None:
        ended = [one.id for one in self._execs.values() if one.exit_code is not None]
        for id in ended[: max(0, len(ended) - KEPT)]:  # noqa: A001
            del self._execs[id]


def terminal_of(pid: int) -> int | None:
    """Open the terminal that is a process's stdin. Return None if the process has ended or has none.

    The process is a container's and can make its stdin anything, for example a device that it cannot open itself. So
    the file is checked first, and only a pseudo-terminal is opened.
    """
    try:
        looking = os.open(f"/proc/{pid}/fd/0", os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it has just ended, or closed its stdin
        return None
    try:
        found = os.fstat(looking)
        if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) not in _TERMINALS:
            return None
        return os.open(f"/proc/self/fd/{looking}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # its other end is closed
        return None
    finally:
        os.close(looking)


def _set_size(fd: int, height: int, width: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height & 0xFFFF, width & 0xFFFF, 0, 0))


def _open(stdio: _Stdio, config: ExecConfig, size: tuple[int, int] | None) -> None:
    """Open a terminal, or a pipe for each wanted stream, into `stdio`. After an error, it has those opened before."""
    if config.tty:
        ours, theirs = pty.openpty()
        stdio.theirs, stdio.outputs, stdio.stdin = dict.fromkeys((0, 1, 2), theirs), {ours: "stdout"}, ours
        os.set_blocking(ours, False)
        if size is not None:
            _set_size(ours, *size)
        return
    if config.attach_stdin:
        stdio.theirs[0], stdio.stdin = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(stdio.stdin, False)
    streams: tuple[tuple[int, Stream, bool], ...] = (
        (1, "stdout", config.attach_stdout),
        (2, "stderr", config.attach_stderr),
    )
    for number, stream, wanted in streams:
        if wanted:
            ours, stdio.theirs[number] = os.pipe2(os.O_CLOEXEC)
            stdio.outputs[ours] = stream
            os.set_blocking(ours, False)
    missing = [number for number in (0, 1, 2) if number not in stdio.theirs]
    if missing:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stdio.theirs.update(dict.fromkeys(missing, null))
