"""gRPC between hosts without sockets. grpclib's calls are carried by hand, and can be late, lost, cut and broken.

A call runs in the process of the server, and messages reach it after a while, in order. Messages on a wire that is cut
wait, because TCP sends again, until the wire is healed or the connection is given up.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import Context
from typing import Any

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from multidict import MultiDict

from tests.simulation.processes import Process, VirtualLoop, running

LATENCY = (0.0002, 0.003)
IP = "ip-of-"


class Server:
    """What listens at an address."""

    def __init__(self, process: Process, services: list[Any]) -> None:
        self.process = process
        self.handlers: dict[str, Handler] = {}
        for service in services:
            self.handlers.update(service.__mapping__())


class Wires:
    """All hosts and the wires between them. `subjects` has the names in their certificates, by host."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, subjects: Mapping[str, Any]) -> None:
        self.loop, self.rng, self.subjects = loop, rng, subjects
        self.servers: dict[str, Server] = {}
        self.hosts: dict[str, str] = {}  # by address
        self.cut_off: set[str] = set()
        self.loss = 0.0  # the probability that a unary call is broken off, before or after it was carried out
        self.counts: Counter[str] = Counter()
        self._stopped: list[Pipe] = []
        self._calls: dict[Call, None] = {}
        self._healed = asyncio.Event()

    def is_cut(self, one: str, other: str) -> bool:
        return one != other and bool({one, other} & self.cut_off)

    def host_at(self, address: str) -> str:
        """Return the host that has an address, as nodes and managers write addresses."""
        name = address.removeprefix(IP)
        by_ip = {each.partition(":")[0]: host for each, host in self.hosts.items()}
        return by_ip.get(name, name)

    def cut(self, host: str) -> None:
        """Lose everything that goes to and from a host."""
        self.cut_off.add(host)
        # Managers notice within a second that another one cannot be reached (manager/peers/incoming.watch_manager),
        # agents and managers within three that the other is not (agent/channel).
        for delay, is_watched in ((1.0, True), (3.0, False)):
            self.loop.call_later(delay, self._notice, host, is_watched, context=Context())

    def _notice(self, host: str, is_watched: bool) -> None:
        for call in list(self._calls):
            if host in call.ends and self.is_cut(*call.ends) and call.is_watched == is_watched:
                call.break_off(StreamTerminatedError("Connection lost"))

    def heal(self, host: str) -> None:
        """Undo `cut`."""
        self.cut_off.discard(host)
        stopped, self._stopped = self._stopped, []
        for pipe in stopped:
            pipe.go_on()
        self._healed.set()

    def stop(self, pipe: "Pipe") -> None:
        """Let a message wait that has come to a cut."""
        self._stopped.append(pipe)

    def ended(self, process: Process) -> None:
        """Reset the connections of a process that has ended."""
        for call in list(self._calls):
            if process in (call.client, call.server.process):
                call.break_off(ConnectionResetError("Connection reset by peer"))

    def channel(self, host: str, port: int, **_: Any) -> "Channel":
        """Make a replacement for a grpclib Channel."""
        return Channel(self, f"{host}:{port}")

    async def connect(self, source: str, address: str) -> Server:
        """Return the server at an address, once it answers."""
        target = self.hosts[address]
        await asyncio.sleep(self.rng.uniform(*LATENCY))
        while self.is_cut(source, target):
            self._healed.clear()
            await self._healed.wait()
        server = self.servers.get(address)
        if server is None or server.process.dead:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        return server

    def begin(self, call: "Call") -> None:
        self._calls[call] = None

    def end(self, call: "Call") -> None:
        self._calls.pop(call, None)


class Pipe:
    """One direction of a call: messages arrive after a while, in order."""

    def __init__(self, wires: Wires, source: str, target: str) -> None:
        self._wires, self._ends = wires, (source, target)
        self._under_way: deque[Callable[[], None]] = deque()

    def send(self, arrive: Callable[[], None]) -> None:
        self._under_way.append(arrive)
        self.go_on()

    def go_on(self) -> None:
        self._wires.loop.call_later(self._wires.rng.uniform(*LATENCY), self._deliver, context=Context())

    def _deliver(self) -> None:
        if self._wires.is_cut(*self._ends):
            self._wires.stop(self)
        else:
            self._under_way.popleft()()


class Channel:
    """A connection to an address, as grpclib's stubs use it."""

    def __init__(self, wires: Wires, address: str) -> None:
        self._wires, self._address = wires, address
        self._streams: dict[ClientStream, None] = {}

    def request(
        self,
        name: str,
        cardinality: Any,
        request_type: Any,
        reply_type: Any,
        *,
        timeout: float | None = None,
        deadline: Any = None,
        metadata: Any = None,
    ) -> "ClientStream":
        if timeout is None and deadline is not None:
            timeout = deadline.time_remaining()
        stream = ClientStream(self._wires, self._address, name, cardinality, timeout, MultiDict(metadata or ()))
        stream.streams = self._streams
        return stream

    def close(self) -> None:
        for stream in list(self._streams):
            stream.lose(StreamTerminatedError("Connection was closed"))


class Call:
    """A call that has reached its server."""

    def __init__(self, wires: Wires, stream: "ClientStream", client: Process, server: Server) -> None:
        self.wires, self.stream, self.client, self.server = wires, stream, client, server
        self.ends = (client.host, server.process.host)
        self.is_watched = "manager" in client.host and "manager" in server.process.host
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self._up, self._down = Pipe(wires, *self.ends), Pipe(wires, *reversed(self.ends))
        self._lost = ""
        self._replied = False
        self.child: asyncio.Task[None] | None = None
        wires.begin(self)

    def start(self, name: str, metadata: Any) -> None:
        handler = self.server.handlers.get(name)
        if handler is None:
            return self._answer(lambda: self.stream.finish(GRPCError(Status.UNIMPLEMENTED, name)))
        unary = not (handler.cardinality.client_streaming or handler.cardinality.server_streaming)
        if unary and self.wires.rng.random() < self.wires.loss:
            self._lost = self.wires.rng.choice(("request", "answer"))
            self.wires.counts[f"{self._lost} lost"] += 1
        if self._lost == "request":
            return self._answer(lambda: self.stream.finish(StreamTerminatedError("Connection lost")))
        side = ServerStream(self, metadata)
        self.child = self.server.process.start(self._serve(handler, side), name)
        return None

    async def _serve(self, handler: Handler, side: "ServerStream") -> None:
        error: Exception | None = None
        try:
            await handler.func(side)
        except GRPCError as refused:
            error = refused
        except asyncio.CancelledError:
            error = StreamTerminatedError("Stream reset by remote party")
            raise
        finally:
            if self._lost:
                error = StreamTerminatedError("Connection lost")
            elif error is None and not self._replied and not handler.cardinality.server_streaming:
                error = GRPCError(Status.UNKNOWN, "Empty response")  # grpclib's own words
            self.wires.end(self)
            self._answer(lambda: self.stream.finish(error))

    def reply(self, message: Any) -> None:
        self._replied = True
        if not self._lost:
            self._answer(lambda: self.stream.arrive(message))

    def request(self, message: Any) -> None:
        self._up.send(lambda: self.requests.put_nowait(message))

    def _answer(self, arrive: Callable[[], None]) -> None:
        self._down.send(arrive)

    def reset(self) -> None:
        """End the call because the client gives it up."""
        self._up.send(self._cancel)

    def _cancel(self) -> None:
        if self.child is not None:
            self.child.cancel()

    def break_off(self, error: Exception) -> None:
        """Break the connection for both sides."""
        self.wires.end(self)
        self.stream.lose(error)
        self._cancel()


class ServerStream:
    """A call as its handler on the server sees it."""

    deadline = None

    def __init__(self, call: Call, metadata: Any) -> None:
        self._call = call
        self.metadata = metadata
        self.peer = self

    def addr(self) -> tuple[str, int]:
        return (IP + self._call.client.host, 4242)

    def cert(self) -> dict[str, Any]:
        return {"subject": self._call.wires.subjects[self._call.client.host]}

    async def recv_message(self) -> Any:
        return await self._call.requests.get()

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        self._call.reply(_copy(message))

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.recv_message()) is not None:
            yield message


class ClientStream:
    """A call as its client sees it."""

    streams: dict["ClientStream", None]

    def __init__(
        self, wires: Wires, address: str, name: str, cardinality: Any, timeout: float | None, metadata: Any
    ) -> None:
        self._wires, self._address, self._name, self._metadata = wires, address, name, metadata
        self._until = None if timeout is None else wires.loop.time() + timeout
        self._call: Call | None = None
        self._replies: asyncio.Queue[Any] = asyncio.Queue()
        self._error: Exception | None = None
        self._is_over = False

    async def __aenter__(self) -> "ClientStream":
        self.streams[self] = None
        return self

    async def __aexit__(self, *_: object) -> None:
        self.streams.pop(self, None)
        if self._call is not None and not self._is_over:
            self._call.reset()

    async def send_request(self) -> None:
        if self._call is None:
            client = running()
            async with asyncio.timeout_at(self._until):
                server = await self._wires.connect(client.host, self._address)
            self._raise_lost()
            self._call = Call(self._wires, self, client, server)
            self._call.start(self._name, self._metadata)

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        self._raise_lost()
        await self.send_request()
        assert self._call is not None
        self._call.request(_copy(message))
        if end:
            self._call.request(None)

    async def end(self) -> None:
        await self.send_request()
        assert self._call is not None
        self._call.request(None)

    async def recv_message(self) -> Any:
        if self._replies.empty():
            self._raise_lost()
            if self._is_over:
                return None
        async with asyncio.timeout_at(self._until):
            found = await self._replies.get()
        if found is None:
            self._raise_lost()
        return found

    async def recv_trailing_metadata(self) -> None:
        while await self.recv_message() is not None:
            pass

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.recv_message()) is not None:
            yield message

    async def cancel(self) -> None:
        if self._call is not None and not self._is_over:
            self._call.reset()

    def arrive(self, message: Any) -> None:
        if self._error is None:
            self._replies.put_nowait(message)

    def finish(self, error: Exception | None) -> None:
        if not self._is_over:
            self._error, self._is_over = self._error or error, True
            self._replies.put_nowait(None)

    def lose(self, error: Exception) -> None:
        if not self._is_over:
            if self._call is not None:
                self._call.reset()
            self.finish(error)

    def _raise_lost(self) -> None:
        if self._error is not None:
            raise self._error


def _copy(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made
