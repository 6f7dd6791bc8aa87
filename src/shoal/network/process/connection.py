"""One connection between `shoald` and the network process: messages in, messages out. The same on both sides."""

import asyncio
import os
import socket
import struct
from asyncio import IncompleteReadError
from pathlib import Path

from shoal.errors import PermissionDenied
from shoal.network.process.messages import LENGTH, Message, decode, encode, length

SOCKET = "socket"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Connection:
    """Messages over a stream. Whoever gets one closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def peer(self) -> int:
        """Return a descriptor of the process at the other end (a pidfd), which is readable once that has ended.

        OSError where it has ended already. The caller closes it.
        """
        pid, _ = _peer(self._writer.get_extra_info("socket"))
        return os.pidfd_open(pid)

    async def receive(self) -> Message | None:
        """Return the next message; None at the end. InvalidArgument for what is no message."""
        try:
            header = await self._reader.readexactly(LENGTH.size)
            return decode(await self._reader.readexactly(length(header)))
        except (IncompleteReadError, ConnectionError):  # the stream also raises here what a send met
            return None

    async def send(self, message: Message) -> None:
        """Send a message; waits while the other side does not read. OSError when it is gone."""
        self._writer.write(encode(message))
        await self._writer.drain()

    def abort(self) -> None:
        """Break it off: what was not sent yet is lost, and `receive` ends."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close it; what was sent is on its way."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # the other side was first


async def connect(folder: Path) -> Connection:
    """Connect to the process whose socket lies in a folder. OSError where none listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # By the descriptor: the folder's own path may be longer than a socket's address.
            await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{at}/{SOCKET}")
        finally:
            os.close(at)
        _require_own(sock)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
    except BaseException:
        sock.close()
        raise
    return Connection(reader, writer)


def listen(folder: Path) -> socket.socket:
    """Return a socket in a folder that listens there, for this user alone. One of a former process is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = f"/proc/self/fd/{at}/{SOCKET}"
            (folder / SOCKET).unlink(missing_ok=True)
            sock.bind(path)
            os.chmod(path, 0o600)
        finally:
            os.close(at)
        sock.listen(8)
    except BaseException:
        sock.close()
        raise
    return sock


def accept(sock: socket.socket) -> socket.socket:
    """Accept a connection. PermissionDenied for another user's; BlockingIOError where nobody waits."""
    peer, _ = sock.accept()
    try:
        _require_own(peer)
    except BaseException:
        peer.close()
        raise
    peer.setblocking(False)
    return peer


def _require_own(sock: socket.socket) -> None:
    _, uid = _peer(sock)
    if uid != os.geteuid():
        raise PermissionDenied(f"the other end of the network process's socket is of user {uid}")


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Return pid and user of the process at the other end, as the kernel says."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid
