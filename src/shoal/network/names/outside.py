"""Asks outside: the sockets and timers of `upstream.Exchange`, in the host's network namespace.

They are in the host's namespace for two reasons. An overlay's subnet may hold the address of the host's resolver (known
fault 20), and a resolver on the host's loopback is reached from there alone.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shoal.network.names import resolvconf, upstream
from shoal.network.names.questions import TCP_LIMIT, Question
from shoal.network.names.upstream import Ask, Close, Command, Exchange

_PORT = 53
# Read from one socket at a time: who sends more than answers is not to hold up the loop.
_READS = 16


class Asking:
    """One question under way. `then` is called once, with the reply or None, unless it is cancelled before."""

    def __init__(
        self,
        question: Question,
        servers: Sequence[str],
        *,
        tcp: bool,
        limit: int,
        group: asyncio.TaskGroup,
        then: Callable[[bytes | None], None],
        port: int = _PORT,
    ) -> None:
        self._exchange = Exchange(question, servers, tcp=tcp, limit=limit, draw=_draw)
        self._group = group
        self._then = then
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}
        self._children: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the first message. `then` may be called before this returns."""
        self._obey(self._exchange.start(self._loop.time()))

    def cancel(self) -> None:
        """Give up: nobody waits for the reply any more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for number in [*self._sockets, *self._children]:
            self._close(number)

    def _obey(self, commands: Sequence[Command]) -> None:
        waiting = list(commands)
        while waiting:
            command = waiting.pop(0)
            if isinstance(command, Close):
                self._close(command.number)
            elif isinstance(command, Ask):
                waiting += self._ask(command)
            else:
                self.cancel()
                self._then(command.reply)
                return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._exchange.look_again_at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._obey(self._exchange.tick(self._loop.time()))

    def _ask(self, ask: Ask) -> list[Command]:
        kind = socket.SOCK_STREAM if ask.tcp else socket.SOCK_DGRAM
        try:
            family, _, _, _, address = socket.getaddrinfo(
                ask.server, self._port, type=kind, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            )[0]
            made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:  # no address, or no descriptor left
            return self._exchange.failed(ask.number, self._loop.time())
        if ask.tcp:
            name = f"DNS question to {ask.server}"
            conversation = self._converse(ask, made, address)
            child = self._children[ask.number] = self._group.create_task(conversation, name=name)
            child.add_done_callback(partial(_closed, made))  # one that is cancelled early never began
            return []
        try:
            # From now on the kernel drops what is not from this address and port. It draws our port, too.
            made.connect(address)
            made.send(ask.message)
        except OSError:
            made.close()
            return self._exchange.failed(ask.number, self._loop.time())
        self._sockets[ask.number] = made
        self._loop.add_reader(made, self._readable, ask.number)
        return []

    def _readable(self, number: int) -> None:
        for _ in range(_READS):
            made = self._sockets.get(number)
            if made is None:
                return
            try:
                message = made.recv(TCP_LIMIT)
            except BlockingIOError:
                return
            except OSError:  # nobody listens there
                self._obey(self._exchange.failed(number, self._loop.time()))
                return
            commands = self._exchange.received(number, message, self._loop.time())
            if commands:
                self._obey(commands)
                return

    async def _converse(self, ask: Ask, made: socket.socket, address: tuple[Any, ...]) -> None:
        reply = None
        with made:
            try:
                # A bound, should nobody close us: the exchange is over before.
                async with asyncio.timeout(upstream.MAX_SERVERS * upstream.LAST_PATIENCE):
                    await self._loop.sock_connect(made, address)
                    await self._loop.sock_sendall(made, len(ask.message).to_bytes(2, "big") + ask.message)
                    reply = await read_message(self._loop, made)
            except (OSError, TimeoutError):
                pass  # as if it had said nothing
        if self._children.pop(ask.number, None) is None:
            return  # closed meanwhile
        now = self._loop.time()
        commands = self._exchange.received(ask.number, reply, now) if reply else []
        # By TCP there is one reply: a wrong one is the end of it.
        self._obey(commands or self._exchange.failed(ask.number, now))

    def _close(self, number: int) -> None:
        if made := self._sockets.pop(number, None):
            self._loop.remove_reader(made)
            made.close()
        if child := self._children.pop(number, None):
            child.cancel()


async def read_message(loop: asyncio.AbstractEventLoop, made: socket.socket, most: int = TCP_LIMIT) -> bytes | None:
    """Read one message behind its length; None at the end of the stream, or where it is longer than `most`."""
    head = await _read(loop, made, 2)
    length = int.from_bytes(head, "big") if head else 0
    return await _read(loop, made, length) if 0 < length <= most else None


async def _read(loop: asyncio.AbstractEventLoop, made: socket.socket, count: int) -> bytes | None:
    parts = []
    while count:
        part = await loop.sock_recv(made, count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _closed(made: socket.socket, _child: asyncio.Task[None]) -> None:
    made.close()


class HostServers:
    """Whom the host asks, as its resolv.conf says now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._servers: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """Return the addresses; none where there is no such file."""
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                text = self._path.read_text(errors="replace")
                self._servers = resolvconf.upstream(resolvconf.parse(text).servers)
                self._read_at = changed_at
        except OSError:
            return ()
        return self._servers


def _draw() -> int:
    return secrets.randbits(16)
