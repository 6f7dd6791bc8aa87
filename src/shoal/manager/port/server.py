"""The server on port 2377: accepts connections, does TLS handshakes and enforces limits. `guard` protects the services.

Owns the connections of nodes. In: listening sockets, services, this node's identity. Out: calls of the services'
methods. Nothing that a peer sends may stop the server: a bad handshake, bytes that are not HTTP/2 or a message that is
too large end only that connection or call. Loops: one for each listening socket (wakes on a connection), and one that
ends idle strangers.
"""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self, cast

from shoal.ca.security import RAFT_PROTOCOL, SecurityConfig
from shoal.manager.port.allowances import Role
from shoal.manager.port.authorization import Standing, unquestioned
from shoal.manager.port.client_hello import MAX_HELLO_BYTES, offered_protocols
from shoal.manager.port.crowd import Crowd, origin
from shoal.manager.port.guard import Forward, by_certificate, current_caller, guarded
from shoal.manager.port.shares import Shares
from shoal.manager.port.turns import OneByOne
from shoal.manager.port.wire import Connection, new_server
from shoal.repeats import is_told

__all__ = ["Limits", "ManagerServer", "current_caller", "listen"]

log = logging.getLogger(__name__)

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64  # connections that are accepted before other work has a turn
ACCEPT_RETRY = 0.5  # seconds to wait after the process ran out of file descriptors
STOP_TIMEOUT = 5.0  # seconds for cancelled calls and connections to end
CLOSE_TIMEOUT = 1.0  # seconds for a peer to answer the end of TLS


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be at once. SwarmKit has no such limits.

    - `connections`: of all peers; a further one is closed at once. An agent has one or two.
    - `connections_per_worker`, `connections_per_manager`: of one node. A manager has one for each 90 calls that it
      forwards.
    - `strangers`, `strangers_per_host`: of peers without a certificate, which are joining. A stranger that makes no
      call for `idle_timeout` seconds is closed.
    - `handshakes`: of peers that have not identified themselves; each has `handshake_timeout` seconds for that.

    When any limit but `connections` is reached, another peer goes (`crowd`). A stranger may use half a megabyte of
    memory, a node 16.
    """

    connections: int = 20_000
    connections_per_worker: int = 8
    connections_per_manager: int = 256
    strangers: int = 1_000
    strangers_per_host: int = 64
    handshakes: int = 500
    handshake_timeout: float = 10.0
    idle_timeout: float = 60.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            if getattr(self, limit.name) <= 0:
                raise ValueError(f"{limit.name} must be positive")

    @classmethod
    def within(cls, descriptors: int) -> Self:
        """Return limits for a process that may open `descriptors` files. They leave enough for everything else."""
        ours = cls()
        return cls(
            connections=min(ours.connections, max(1, descriptors // 2)),
            strangers=min(ours.strangers, max(1, descriptors // 8)),
            handshakes=min(ours.handshakes, max(1, descriptors // 8)),
        )


class ManagerServer:
    """Serves gRPC over mutual TLS. The client's certificate is optional, and each call is checked by itself.

    - `is_removed` returns whether a node's certificates were blacklisted, `standing` why another one does not count.
    - `is_leader` returns whether this manager answers calls that only the leader answers; otherwise `forward` takes
      them to the leader.
    - `raft` returns the protocol for a peer that wants to reach this manager's etcd, or None. If `raft_socket` is
      given, it is called instead, with the socket of such a peer before anything was read, and must close it.

    The constructor raises InvariantBroken if a service has a method without a rule.
    """

    def __init__(
        self,
        security: SecurityConfig,
        services: Collection[Any],
        *,
        is_removed: Callable[[str], bool],
        standing: Standing = unquestioned,
        is_leader: Callable[[], bool] = lambda: True,
        forward: Forward | None = None,
        raft: Callable[[asyncio.Transport], asyncio.Protocol | None] = lambda transport: None,
        raft_socket: Callable[[socket.socket], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._security = security
        self._limits = limits or Limits.within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._raft, self._raft_socket = raft, raft_socket
        self._is_removed = is_removed
        self._standing = standing
        who = by_certificate(security.cluster_id, is_removed, standing, is_leader)
        self._base = new_server(guarded(services, who, is_leader, forward))
        self._connections: set[Connection] = set()
        limit = self._limits.connections
        self._crowds = {
            Role.STRANGER: Crowd[Connection](self._limits.strangers, self._limits.strangers_per_host),
            Role.WORKER: Crowd[Connection](limit, self._limits.connections_per_worker),
            Role.MANAGER: Crowd[Connection](limit, self._limits.connections_per_manager),
        }
        self._handshakes = Crowd[asyncio.Task[None]](self._limits.handshakes)
        self._arriving: set[socket.socket] = set()  # sockets that this server itself must close
        self._shares = Shares()
        self._hellos = OneByOne()
        self._refused = 0
        self.accepted = 0  # connections since the start, for metrics
        self._empty = asyncio.Event()
        self._empty.set()

    def end_unfit(self, node_ids: Collection[str] | None = None) -> None:
        """End the connections of these nodes (or of all) whose certificates do not count any more, with their calls.

        A call is only checked when it begins, and some calls last as long as their connection.
        """
        for connection in list(self._connections):
            subject = connection.subject
            if subject is None or (node_ids is not None and subject.common_name not in node_ids):
                continue
            if self._is_removed(subject.common_name) or self._standing(subject):
                connection.close()

    @property
    def connections(self) -> int:
        """Return how many peers are connected."""
        return len(self._connections)

    @property
    def handshakes(self) -> int:
        """Return how many peers have not finished their handshake."""
        return len(self._handshakes)

    async def run(self, *listeners: socket.socket) -> None:
        """Serve on listening sockets until cancelled. The sockets and every connection are closed at the end."""
        try:
            async with asyncio.TaskGroup() as group:
                for listener in listeners:
                    group.create_task(self._accept(listener, group), name="accept")
                group.create_task(self._end_idle(), name="end-idle-strangers")
        finally:
            for sock in (*listeners, *self._arriving):
                sock.close()
            await self._stop()

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        listener.setblocking(False)
        while True:
            # Not `sock_accept`: if it is cancelled when a connection arrives, the connection is lost but stays open.
            await _wait_readable(listener)
            try:
                for _ in range(ACCEPTED_AT_ONCE):
                    sock, address = listener.accept()
                    self._take(sock, origin(address[0]), group)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue  # no connection waits, or the peer went away before it was accepted
            except OSError as fault:
                log.error("cannot accept connections on port 2377: %s", fault)
                await asyncio.sleep(ACCEPT_RETRY)

    def _take(self, sock: socket.socket, host: str, group: asyncio.TaskGroup) -> None:
        if len(self._connections) >= self._limits.connections:
            self._refuse()
            sock.close()
            return
        sock.setblocking(False)
        self._arriving.add(sock)
        child = group.create_task(self._shake_hands(sock, host), name="handshake")
        child.add_done_callback(lambda child: self._shaken(child, sock))
        gone = self._handshakes.enter(child, host)
        if gone is not None:
            self._refuse()
            gone.cancel()

    def _shaken(self, child: asyncio.Task[None], sock: socket.socket) -> None:
        self._handshakes.leave(child)
        if sock in self._arriving:
            self._arriving.discard(sock)
            sock.close()

    async def _shake_hands(self, sock: socket.socket, host: str) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                await _wait_readable(sock)
                if self._raft_socket is not None and _offers_raft(sock):
                    self._arriving.discard(sock)
                    self._raft_socket(sock)
                    return
                # Each handshake costs a signature, and hundreds at once would block the loop. So handshakes begin one
                # after the other, each in its own turn of the loop, and hosts take turns.
                async with self._hellos.turn(host):
                    await asyncio.sleep(0)
            self._arriving.discard(sock)  # from here on the transport closes it
            _watch_peer(sock)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Arrival(self._speaker),
                sock,
                ssl=self._security.server_context(),
                ssl_handshake_timeout=self._limits.handshake_timeout,
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
        except OSError as fault:  # also errors of TLS; what a stranger does here is not worth a warning
            log.debug("a handshake failed: %s", fault)

    def _speaker(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() == RAFT_PROTOCOL:
            return self._raft(transport)
        return Connection(self._base, self._shares, self._opened, self._closed)

    def _opened(self, connection: Connection) -> None:
        self.accepted += 1
        self._connections.add(connection)
        self._empty.clear()
        gone = self._crowds[connection.role].enter(connection, connection.node_id or connection.host)
        if gone is not None:
            self._refuse()
            gone.abort()

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._crowds[connection.role].leave(connection)
        if not self._connections:
            self._empty.set()

    def _refuse(self) -> None:
        self._refused += 1
        if is_told(self._refused):
            log.warning("too many connections on port 2377: %s were closed so far", self._refused)

    async def _end_idle(self) -> None:
        while True:
            await asyncio.sleep(self._limits.idle_timeout / 2)
            now = time.monotonic()
            for connection in list(self._connections):
                if connection.is_stranger and connection.idle_for(now) > self._limits.idle_timeout:
                    connection.close()

    async def _stop(self) -> None:
        ending = list(self._connections)
        for connection in ending:
            connection.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                for connection in ending:
                    await connection.calls.wait_closed()
                await self._empty.wait()
        except TimeoutError:
            log.warning("%s connections did not end within %s s", len(self._connections), STOP_TIMEOUT)


class _Arrival(asyncio.Protocol):
    """A peer that has finished its handshake, so that its protocol is known."""

    def __init__(self, speaker: Callable[[asyncio.Transport], asyncio.Protocol | None]) -> None:
        self._speaker = speaker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the connection to the part that speaks its protocol."""
        connected = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass of it
        speaker = self._speaker(connected)
        if speaker is None:
            connected.abort()
            return
        connected.set_protocol(speaker)
        speaker.connection_made(connected)


def _offers_raft(sock: socket.socket) -> bool:
    """Return whether a peer's first message offers Raft and nothing else. The message stays in the socket."""
    try:
        said = sock.recv(MAX_HELLO_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return offered_protocols(said) == [RAFT_PROTOCOL.encode()]


async def _wait_readable(sock: socket.socket) -> None:
    loop, handle = asyncio.get_running_loop(), sock.fileno()
    arrived = asyncio.Event()
    loop.add_reader(handle, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(handle)


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError with Go's text, which names the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as fault:
        sock.close()
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise OSError(fault.errno, f"listen tcp {shown}: bind: {go_words(fault.strerror)}") from fault
    return sock


def go_words(strerror: str | None) -> str:
    """Return the kernel's reason as Go writes it: without a capital letter."""
    return f"{strerror[0].lower()}{strerror[1:]}" if strerror else "unknown error"


def _watch_peer(sock: socket.socket) -> None:
    """Let the kernel end the connection about three seconds after the peer's kernel is lost (`dispatcher.doubts`).

    A slow process keeps its connection, because its kernel answers.
    """
    with suppress(AttributeError):  # some of these constants exist only on Linux
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3_000)
