"""The server on port 2377: accepts, shakes hands, keeps to its limits; services stand behind `guard`.

Owns the connections of nodes. In: listening sockets, services, this node's identity. Out: calls of the services'
methods. Nothing that a peer sends may stop it: a bad handshake, bytes that are no HTTP/2, a message that is too large
end that connection or that call, and nothing is left behind. Loops: one a listening socket (wakes on a connection), one
that ends idle strangers.
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
ACCEPTED_A_TURN = 20  # of the loop: what a peer says first takes half a millisecond to answer, and it comes at once
ACCEPTED_AT_ONCE = 64  # then others have a turn
ACCEPT_RETRY = 0.5  # after the process ran out of file descriptors
STOP_TIMEOUT = 5.0  # for calls to end after they were cancelled, and peers to go
CLOSE_TIMEOUT = 1.0  # for a peer to answer TLS's goodbye


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of anything strangers and nodes may have at once.

    `connections` is for nodes, each of which holds one or two; beyond it a connection is closed at once. `strangers` is
    for peers without a certificate, who are joining; `handshakes` for those that have not said who they are, who have
    `handshake_timeout` seconds for it; beyond these, another one goes (`crowd`). A stranger that has made no call for
    `idle_timeout` seconds goes. One host may have `strangers_per_host`, one worker `connections_per_worker`: an agent
    has one or two. A manager has one for each 90 calls that it carries for others, and so more. Each may hold some
    memory: half a megabyte a stranger, 16 a node. All ours: Swarm has no such limits.
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
        """Return limits for a process that may have so many files open: peers leave it enough for all else."""
        ours = cls()
        return cls(
            connections=min(ours.connections, max(1, descriptors // 2)),
            strangers=min(ours.strangers, max(1, descriptors // 8)),
            handshakes=min(ours.handshakes, max(1, descriptors // 8)),
        )


class ManagerServer:
    """Serves gRPC over mutual TLS, where the client's certificate is optional and each call is judged by itself.

    `is_removed` tells whether a node's certificates were blacklisted, `standing` why one counts no more; `is_leader`
    whether calls that only the leader answers are answered here, and `forward` carries them to the leader otherwise.
    `raft` returns who speaks to a peer that wants to reach this manager's etcd, or None; where there is `raft_socket`,
    that takes such a connection before anything was read of it, and closes it. A service with a method that is in no
    rule makes construction fail (InvariantBroken).
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
        self._arriving: set[socket.socket] = set()  # those that nobody else closes
        self._shares = Shares()
        self._hellos = OneByOne()
        self._refused = 0
        self.accepted = 0  # connections since the start, for metrics
        self._empty = asyncio.Event()
        self._empty.set()

    def end_unfit(self, node_ids: Collection[str] | None = None) -> None:
        """End the connections, and what is being answered on them, whose certificates count no more.

        Of these nodes, or of all. A call was judged when it began; some last as long as their connection.
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
        """Return how many peers have not said yet who they are."""
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
            # Not `sock_accept`: one that is cancelled as a connection comes loses it, still open.
            await _wait_readable(listener)
            try:
                for _ in range(ACCEPTED_AT_ONCE):
                    sock, address = listener.accept()
                    self._take(sock, origin(address[0]), group)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue  # no more for now, or the peer went away while it waited
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
                # A hello costs a signature, and hundreds that come at once would hold up the managers' heartbeats,
                # which pass through this loop as well: one at a time, each in a turn of its own, the hosts by turns.
                async with self._hellos.turn(host):
                    await asyncio.sleep(0)
            self._arriving.discard(sock)  # its transport closes it from here on
            _watch_peer(sock)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Arrival(self._speaker),
                sock,
                ssl=self._security.server_context(),
                ssl_handshake_timeout=self._limits.handshake_timeout,
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
        except OSError as fault:  # of TLS as well: whatever a stranger does here is not worth a line in the log
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
    """A peer that has just shaken hands: what it speaks is known now."""

    def __init__(self, speaker: Callable[[asyncio.Transport], asyncio.Protocol | None]) -> None:
        self._speaker = speaker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection to who speaks its protocol."""
        connected = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        speaker = self._speaker(connected)
        if speaker is None:
            connected.abort()
            return
        connected.set_protocol(speaker)
        speaker.connection_made(connected)


def _offers_raft(sock: socket.socket) -> bool:
    """Return whether a peer says, in what it has sent so far, that it speaks Raft and nothing else. It stays unread."""
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
    """Return a listening socket. Raises OSError, with the address in its text, which is as Go has it."""
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
    """Return the kernel's reason as Go words it: without a capital."""
    return f"{strerror[0].lower()}{strerror[1:]}" if strerror else "unknown error"


def _watch_peer(sock: socket.socket) -> None:
    """Let the kernel notice within some three seconds that a peer's is gone: that is how a node comes to be in doubt.

    The peer's process may be as slow as it likes, as kernels answer each other. What is lost is a connection.
    """
    with suppress(AttributeError):  # not every kernel that Python runs on has them all
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3_000)
