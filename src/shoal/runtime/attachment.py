"""The stdio of a container or an exec, both ways: raw output by stream, and input.

A container's stdio goes through its conmon's socket, in packets whose first byte names the stream. An exec's goes
through pipes or a terminal of the daemon. Nothing is buffered here: unread output waits at the sender.
"""

import asyncio
import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from shoal.errors import Conflict

Stream = Literal["stdout", "stderr"]

_READ = 65536
_PACKET = 8192  # conmon reads this much at once
_STREAMS: dict[int, Stream] = {2: "stdout", 3: "stderr"}


class Attachment(ABC):
    """One client's connection. Its user must close it."""

    @abstractmethod
    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Yield the output of the process until it has ended."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Write to its stdin. The data is dropped if nobody reads it any more."""

    @abstractmethod
    async def close_stdin(self) -> None:
        """End its stdin."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection. The process goes on."""

    @staticmethod
    async def to_container(bundle: Path, *, tty: bool) -> "Attachment":
        """Connect to the conmon of a bundle. Raises Conflict if it has ended."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through a descriptor, because the bundle's path may be too long for a socket address.
            await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{folder}/attach")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            sock.close()
            raise Conflict(f"container {bundle.name} is not running") from error
        except BaseException:
            sock.close()
            raise
        finally:
            os.close(folder)
        return _ToConmon(sock)


class _ToConmon(Attachment):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._sock, _READ)
            except (ConnectionResetError, BrokenPipeError):
                return
            if not packet:
                return
            stream = _STREAMS.get(packet[0])
            if stream is not None:
                yield stream, packet[1:]

    async def write(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            for start in range(0, len(data), _PACKET):
                await loop.sock_sendall(self._sock, data[start : start + _PACKET])
        except (BrokenPipeError, ConnectionResetError):
            return

    async def close_stdin(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    async def close(self) -> None:
        self._sock.close()


class ToProcess(Attachment):
    """Our ends of a process's pipes or terminal, all non-blocking."""

    def __init__(
        self,
        outputs: dict[int, Stream],
        stdin: int | None,
        exited: int,
        verdict: "asyncio.Future[str]",
        abandon: "Callable[[ToProcess], None]",
        *,
        tty: bool,
    ) -> None:
        """`outputs`: descriptor -> stream; with a terminal, `stdin` is the same descriptor. `exited`: the pidfd.

        `verdict` is set when the process has ended: to the reason why it could not be started, or to an empty text.
        `abandon` is called if the client leaves before that, and must let `drain` run.
        """
        self._verdict = verdict
        self._abandon = abandon
        self._outputs = outputs
        self._stdin = stdin
        self._exited = exited
        self._tty = tty
        self._open = {*outputs, *(() if stdin is None else (stdin,)), exited}

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        left = dict(self._outputs)
        over = not left
        while left:
            idle = True
            for fd, stream in list(left.items()):
                data = _read(fd)
                if data is None:
                    continue
                idle = False
                if data:
                    yield stream, data
                else:
                    del left[fd]
            if idle:
                # A child that it left running may hold its pipes open, so its own end counts.
                if over:
                    break
                over = await _any_readable([*left, self._exited], self._exited)

        await asyncio.wait([self._verdict])
        if not self._verdict.cancelled() and self._verdict.result():
            yield "stderr", self._verdict.result().encode() + b"\r\n"

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._stdin is not None:
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await _writable(self._stdin)
            except (BrokenPipeError, OSError) as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                return

    async def close_stdin(self) -> None:
        if self._stdin is None or self._tty:
            return
        self._open.discard(self._stdin)
        os.close(self._stdin)
        self._stdin = None

    async def close(self) -> None:
        await self.close_stdin()
        if self._open and self._outputs and not self._verdict.done():
            self._abandon(self)
        else:
            self._let_go()

    async def drain(self) -> None:
        """Read and drop the output until the end."""
        try:
            async for _ in self.output():
                continue
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        self._stdin = None


def _read(fd: int) -> bytes | None:
    """Return the available bytes: empty at the end, None if there are none yet."""
    try:
        return os.read(fd, _READ)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # the other end of a terminal was closed
            return b""
        raise


async def _any_readable(fds: list[int], special: int) -> bool:
    """Wait until one descriptor can be read. Return whether it is the special one."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake(fd: int) -> None:
        if not ready.done():
            ready.set_result(fd)

    for fd in fds:
        loop.add_reader(fd, wake, fd)
    try:
        return bool(await ready == special)
    finally:
        for fd in fds:
            loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    # A terminal has one descriptor for reading and writing. The event loop can have a reader and a writer for it.
    loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        loop.remove_writer(fd)
