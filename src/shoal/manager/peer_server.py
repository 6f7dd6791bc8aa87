"""The receiving end of the way between two managers' etcds: from port 2377 to the socket of our own etcd.

etcd's peers speak over unix sockets alone; shoald carries their bytes over mutual TLS (docs/decisions). In: connections
of port 2377 whose peer chose the protocol `shoal-raft`. Out: bytes to and from our etcd. Only a manager of this cluster
that was not removed is let in; workers hold certificates of the same root. Bytes pass from protocol to protocol without
a child or a queue; a side that does not read stops the other one. An end on one side ends the other once what was
received has been passed on: TLS has no half-closed state in asyncio, and etcd's peers (HTTP) need none.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from shoal.ca.identity import MANAGER_OU
from shoal.errors import PermissionDenied
from shoal.manager.authorization import Peer, Subject, judge, subject_of

log = logging.getLogger(__name__)

# What waits on one side for the other to read; one read of the loop's (256 KiB) may come on top.
BUFFER_BYTES = 256 * 1024
# etcd holds two streams, and opens up to four connections at once for messages beside them; some more while it retries.
CONNECTIONS_PER_PEER = 64
# A manager that says nothing for so long is taken for dead: etcd's followers and leader talk every 50 ms.
SILENCE = 1.0
SOCKET_TIMEOUT = 1.0  # our own etcd accepts at once, or it does not run


class Relay(asyncio.Protocol):
    """One end of a tunnel. What it receives is written to the end that it was joined to."""

    def __init__(self, closed: "Callable[[Relay], None]", heard: Callable[[], None] | None = None) -> None:
        self._closed = closed
        self._heard = heard
        self._other: Relay | None = None
        self._early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without reading: there is nowhere yet for the bytes to go."""
        # uvloop's transports are not asyncio.Transport by class.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        transport.pause_reading()

    def join(self, other: "Relay") -> None:
        """Let bytes pass between two ends. One that is gone already ends the other."""
        self._other, other._other = other, self
        for end in (self, other):
            if end.transport is None or end.transport.is_closing():
                self.close()
                other.close()
                return
        for end in (self, other):
            end.read(reading=True)
            early, end._early = end._early, b""
            if early:
                end.data_received(early)

    def read(self, *, reading: bool) -> None:
        """Take bytes from the peer, or leave them to it for now."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self._heard is not None:
            self._heard()
        other = self._other
        if other is None:
            # asyncio (3.11) may begin to read although `connection_made` asked it not to, and takes that for done: only
            # after a resumption does it pause. One read, and then no more.
            self._early += data
            self.read(reading=True)
            self.read(reading=False)
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def pause_writing(self) -> None:
        """Stop the other end: this one's peer does not read."""
        if self._other is not None:
            self._other.read(reading=False)

    def resume_writing(self) -> None:
        """Go on."""
        if self._other is not None:
            self._other.read(reading=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the other end as well, after what it still has to send."""
        self.transport = None
        self._closed(self)
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """Send what there is, and end."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """End at once."""
        # asyncio's TLS transport (3.11) cannot be aborted once it is closing; its own timeout ends it.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()


class PeerGate:
    """Lets other managers' etcds through to ours, whose socket is `etcd`. Works inside `run`.

    `heard` is told the id of a manager whenever something comes from it; `is_removed` tells whether a node's
    certificates were blacklisted.
    """

    def __init__(
        self,
        etcd: Path,
        cluster_id: str,
        *,
        is_removed: Callable[[str], bool],
        heard: Callable[[str], None] = lambda node_id: None,
    ) -> None:
        self._etcd = etcd
        self._cluster_id = cluster_id
        self._is_removed = is_removed
        self._heard = heard
        self._group: asyncio.TaskGroup | None = None
        self._ends: dict[Relay, str] = {}
        self._held: Counter[str] = Counter()

    async def run(self) -> None:
        """Let managers in until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            for end in list(self._ends):
                end.abort()

    def accept(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Return who speaks to a peer that has just shaken hands; None where it may not come in."""
        peer = Peer(subject=_subject(transport), verified=True)
        try:
            node_id = judge((MANAGER_OU,), peer, None, self._cluster_id, self._is_removed).node_id
        except PermissionDenied as refusal:
            log.warning("a connection to this manager's etcd was refused: %s", refusal)
            return None
        if self._group is None or self._held[node_id] >= CONNECTIONS_PER_PEER:
            return None
        watch_manager(transport.get_extra_info("socket"))
        self._held[node_id] += 1
        remote = Relay(self._closed, lambda: self._heard(node_id))
        self._ends[remote] = node_id
        self._group.create_task(self._connect(remote), name="etcd peer in")
        return remote

    def drop(self, node_id: str) -> None:
        """End what there is of a manager that was removed."""
        for end, owner in list(self._ends.items()):
            if owner == node_id:
                end.abort()

    async def _connect(self, remote: Relay) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SOCKET_TIMEOUT):
                with _short_path(self._etcd) as path:
                    _, local = await loop.create_unix_connection(lambda: Relay(_ignore), path)
        except (OSError, TimeoutError) as fault:
            log.debug("our etcd does not take a peer's connection: %s", fault)
            remote.abort()
            return
        remote.join(local)

    def _closed(self, end: Relay) -> None:
        node_id = self._ends.pop(end, "")
        self._held[node_id] -= 1
        if self._held[node_id] <= 0:
            del self._held[node_id]


def watch_manager(sock: socket.socket | None) -> None:
    """Let the kernel end a connection to a manager that is gone within about a second."""
    if sock is None:
        return
    with suppress(AttributeError):  # not every kernel that Python runs on has them all
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE * 1000))


def _subject(transport: asyncio.Transport) -> Subject | None:
    certificate = transport.get_extra_info("peercert")
    return subject_of(certificate.get("subject", ())) if certificate else None


def _ignore(_end: Relay) -> None:
    pass


@contextmanager
def _short_path(socket_path: Path) -> Iterator[str]:
    """Give a path for a socket that fits into an address, however long the folder's is."""
    handle = os.open(socket_path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{socket_path.name}"
    finally:
        os.close(handle)
