"""Answers the questions of all sandboxes, on one loop.

In: sockets that were opened in the sandboxes, and who asks there. Everything else is decided elsewhere: this carries
messages, keeps the limits and owns what is under way.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from shoal.network.directory import Directory
from shoal.network.names import questions
from shoal.network.names.answers import Asker, Remembered, answer
from shoal.network.names.limits import Bucket, Limits, Outside
from shoal.network.names.outside import Asking, read_message
from shoal.network.names.questions import REFUSED, SERVFAIL, TCP_LIMIT, Question
from shoal.network.names.sockets import Listening

# No resolver sends a longer question: a name has 255 bytes, and EDNS options a few hundred.
_LONGEST = 4096
_DEAF = 0.2  # seconds
_ACCEPTS = 16  # connections taken before the loop turns to others

_log = logging.getLogger(__name__)

_Address = tuple[str, int]


@dataclass(slots=True)
class Counts:
    """What has happened since the start."""

    questions: int = 0
    answered: int = 0  # from the directory
    outside: int = 0  # asked outside
    failed: int = 0  # asked outside, and nobody had an answer
    refused: int = 0  # too many questions outside, or connections
    paused: int = 0  # times that a sandbox had asked too much
    lost: int = 0  # replies that could not be sent
    invalid: int = 0  # messages that are no question
    # Spent on questions by UDP, without the wait for others' answers; and until who was asked outside had an answer.
    seconds: float = 0.0
    outside_seconds: float = 0.0


@dataclass(slots=True)
class _Served:
    """One sandbox."""

    who: Asker
    sockets: Listening
    bucket: Bucket
    remembered: Remembered = field(default_factory=Remembered)
    asking: set[Asking] = field(default_factory=set)
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    pause: asyncio.TimerHandle | None = None  # no question is read
    deaf: asyncio.TimerHandle | None = None  # no connection is taken


class NameServer:
    """Serves sandboxes. `group` owns what is under way; `host_servers` says whom the host asks, now."""

    def __init__(
        self,
        directory: Directory,
        group: asyncio.TaskGroup,
        host_servers: Callable[[], tuple[str, ...]],
        *,
        limits: Limits | None = None,
        rng: random.Random | None = None,
        port: int = 53,
    ) -> None:
        self._directory = directory
        self._group = group
        self._host_servers = host_servers
        self._limits = limits or Limits()
        self._draw = (rng or random.Random()).random
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._served: dict[str, _Served] = {}
        self._outside = Outside(self._limits)
        self.counts = Counts()

    def serve(self, who: Asker, sockets: Listening) -> None:
        """Answer a sandbox, which is not served yet. The sockets are ours from now on.

        They keep its network namespace in being: who takes a sandbox down calls `stop` first.
        """
        served = _Served(who, sockets, Bucket(self._limits.rate, self._loop.time()))
        self._served[who.container] = served
        self._loop.add_reader(sockets.udp, self._readable, served)
        self._loop.add_reader(sockets.tcp, self._accept, served)

    def update(self, who: Asker) -> None:
        """Take over who asks: it is on other networks now, or they have other names."""
        served = self._served[who.container]
        served.who, served.remembered = who, Remembered()

    @property
    def waiting(self) -> int:
        """How many questions are asked outside now."""
        return self._outside.all

    def served(self) -> frozenset[str]:
        """Return the containers that are served."""
        return frozenset(self._served)

    def ports(self, container: str) -> tuple[int, int]:
        """Return the ports of UDP and TCP at which a sandbox that is served is answered."""
        return self._served[container].sockets.ports

    def stop(self, container: str) -> None:
        """Serve a sandbox no longer. Nothing happens where it is not."""
        if container in self._served:
            self.release(container).close()

    def release(self, container: str) -> Listening:
        """Serve a sandbox no longer and return its sockets, open, for a successor.

        Questions under way are dropped, and asked again by whoever asked.
        """
        served = self._served.pop(container)
        if served.pause:
            served.pause.cancel()
        else:
            self._loop.remove_reader(served.sockets.udp)
        if served.deaf:
            served.deaf.cancel()
        else:
            self._loop.remove_reader(served.sockets.tcp)
        for asking in list(served.asking):
            asking.cancel()
            self._over(served, asking)
        for connection in served.connections:
            connection.cancel()
        self._outside.forget(container)
        return served.sockets

    def _readable(self, served: _Served) -> None:
        began = self._loop.time()
        given = served.bucket.take(self._limits.turn, began)
        if not given:
            self._pause(served)
            return
        self._turn(served, given)
        self.counts.seconds += self._loop.time() - began

    def _turn(self, served: _Served, given: int) -> None:
        udp = served.sockets.udp
        for taken in range(given):
            try:
                message, address = udp.recvfrom(_LONGEST + 1)
            except OSError:  # nothing there any more; or the kernel's, and the next one is no worse for it
                served.bucket.give_back(given - taken)
                return
            self._by_udp(served, message, address)

    def _pause(self, served: _Served) -> None:
        """Let a flood wait in its socket, whose queue the kernel bounds."""
        self.counts.paused += 1
        self._loop.remove_reader(served.sockets.udp)
        served.pause = self._loop.call_later(served.bucket.wait(self._limits.turn), self._resume, served)

    def _resume(self, served: _Served) -> None:
        served.pause = None
        self._loop.add_reader(served.sockets.udp, self._readable, served)

    def _by_udp(self, served: _Served, message: bytes, address: _Address) -> None:
        self.counts.questions += 1
        known = served.remembered.get(message, self._directory)
        if known:
            self.counts.answered += 1
            self._send(served, address, known)
            return
        question = questions.read(message) if len(message) <= _LONGEST else None
        if question is None or isinstance(question, bytes):
            self.counts.invalid += 1
            if question is not None:
                self._send(served, address, question)
            return
        reply = answer(question, served.who, self._directory, self._draw, question.size)
        if reply is not None:
            self.counts.answered += 1
            served.remembered.keep(message, reply)
            self._send(served, address, reply)
            return
        self._ask(served, question, tcp=False, then=partial(self._send, served, address))

    def _send(self, served: _Served, address: _Address, reply: bytes) -> None:
        try:
            served.sockets.udp.sendto(reply, address)
        except OSError:  # the asker's queue is full, or the sandbox is gone: it asks again, or is there no more
            self.counts.lost += 1

    def _ask(self, served: _Served, question: Question, *, tcp: bool, then: Callable[[bytes], None]) -> None:
        servers = served.who.servers or self._host_servers()
        if not servers or not served.who.forward:
            then(questions.reply(question, SERVFAIL))
            return
        if not self._outside.begin(served.who.container, self._loop.time()):
            self.counts.refused += 1
            then(questions.reply(question, REFUSED))
            return
        self.counts.outside += 1
        began = self._loop.time()

        def done(reply: bytes | None) -> None:
            self._over(served, asking)
            self.counts.failed += reply is None
            self.counts.outside_seconds += self._loop.time() - began
            then(questions.reply(question, SERVFAIL) if reply is None else reply)

        asking = Asking(
            question,
            servers,
            tcp=tcp,
            limit=TCP_LIMIT if tcp else question.size,
            group=self._group,
            then=done,
            port=self._port,
        )
        served.asking.add(asking)
        asking.start()

    def _over(self, served: _Served, asking: Asking) -> None:
        served.asking.remove(asking)
        self._outside.end(served.who.container)

    def _accept(self, served: _Served) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _ = served.sockets.tcp.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left: what waits would wake us without end
                self._loop.remove_reader(served.sockets.tcp)
                served.deaf = self._loop.call_later(_DEAF, self._listen, served)
                return
            if len(served.connections) >= self._limits.connections:
                self.counts.refused += 1
                connection.close()
                continue
            connection.setblocking(False)
            child = self._group.create_task(
                self._converse(served, connection), name=f"DNS by TCP of {served.who.container}"
            )
            served.connections.add(child)
            child.add_done_callback(served.connections.discard)
            child.add_done_callback(partial(_closed, connection))  # one that is cancelled early never began

    def _listen(self, served: _Served) -> None:
        served.deaf = None
        self._loop.add_reader(served.sockets.tcp, self._accept, served)

    async def _converse(self, served: _Served, connection: socket.socket) -> None:
        """Answer one connection's questions, one after the other."""
        with connection:
            try:
                async with asyncio.timeout(self._limits.connection_time):
                    for _ in range(self._limits.connection_questions):
                        async with asyncio.timeout(self._limits.idle):
                            message = await read_message(self._loop, connection, _LONGEST)
                        reply = await self._by_tcp(served, message) if message else None
                        if reply is None:
                            return
                        async with asyncio.timeout(self._limits.idle):
                            await self._loop.sock_sendall(connection, len(reply).to_bytes(2, "big") + reply)
            except (OSError, TimeoutError):
                return  # it went away, or holds a connection for nothing
            except Exception:  # noqa: BLE001 - supervised: one connection costs nobody else's names
                _log.exception("a DNS question by TCP of container %s", served.who.container)

    async def _by_tcp(self, served: _Served, message: bytes) -> bytes | None:
        await asyncio.sleep(served.bucket.spend(1, self._loop.time()))
        self.counts.questions += 1
        question = questions.read(message)
        if question is None or isinstance(question, bytes):
            self.counts.invalid += 1
            return question
        reply = answer(question, served.who, self._directory, self._draw, TCP_LIMIT)
        if reply is not None:
            self.counts.answered += 1
            return reply
        waiting: asyncio.Future[bytes] = self._loop.create_future()

        def told(reply: bytes) -> None:
            if not waiting.done():
                waiting.set_result(reply)

        self._ask(served, question, tcp=True, then=told)
        return await waiting


def _closed(connection: socket.socket, _child: asyncio.Task[None]) -> None:
    connection.close()
