"""Connects our etcd to the etcds of other managers: from a unix socket for each of them, over TLS to its port 2377.

In: connections of our own etcd to the socket `<node id>:1` in its working directory, which etcd takes for the address
of that manager. Out: the same bytes, sent to the other manager (`incoming` there). Each connection uses the newest
address of the manager, whose certificate must name its node; so a manager's identity is not its address. A connection
that fails is closed; etcd tries again by itself.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from shoal.ca.security import MANAGER_SERVER_NAME, RAFT_PROTOCOL
from shoal.errors import InvalidArgument
from shoal.manager.peers.incoming import CONNECTIONS_PER_PEER, SILENCE, Relay, watch_manager
from shoal.manager.port.authorization import subject_of
from shoal.paths import Paths
from shoal.store.etcd_config import peer_socket

log = logging.getLogger(__name__)

# Seconds for TCP and TLS together. etcd itself gives up only after five seconds, which is longer than an election.
CONNECT_TIMEOUT = 2 * SILENCE
BACKLOG = 16
_LOGGED_FAILURES = frozenset({10, 100, 1000, 10_000})  # which failures in a row are logged; a restart causes a few


class Security(Protocol):
    """This node's identity, as `shoal.ca.security` keeps it."""

    def peer_context(self) -> ssl.SSLContext:
        """Return the context for reaching another manager's etcd."""


class PeerTunnels:
    """The tunnels to other managers' etcds. Works while `run` runs; `serve` sets the managers.

    `address_of` returns a manager's `host:port`, or None if it is unknown. `heard` is called with a manager's node id
    whenever bytes come from it.
    """

    def __init__(
        self,
        paths: Paths,
        security: Security,
        *,
        address_of: Callable[[str], str | None],
        heard: Callable[[str], None] = lambda node_id: None,
    ) -> None:
        self._paths = paths
        self._security = security
        self._address_of = address_of
        self._heard = heard
        self._group: asyncio.TaskGroup | None = None
        self._servers: dict[str, asyncio.Server] = {}
        self._ends: dict[str, set[Relay]] = {}
        self._failures: dict[str, int] = {}

    @property
    def node_ids(self) -> Collection[str]:
        """Return the managers that etcd can reach."""
        return self._servers.keys()

    async def run(self) -> None:
        """Carry bytes until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self._group = None  # who comes while its children end is sent away
        finally:
            for node_id in list(self._servers):
                self._forget(node_id)

    async def serve(self, node_ids: Collection[str]) -> None:
        """Have a socket for exactly these managers. May be repeated. Raises OSError."""
        for node_id in self._servers.keys() - set(node_ids):
            self._forget(node_id)
        loop = asyncio.get_running_loop()
        for node_id in node_ids:
            if node_id in self._servers:
                continue
            sock = _listen(self._paths.etcd, peer_socket(self._paths, node_id).name)
            server = await loop.create_unix_server(lambda node_id=node_id: self._accept(node_id), sock=sock)  # type: ignore[misc]
            self._servers[node_id] = server

    def drop(self, node_id: str) -> None:
        """End the connections to a manager. etcd opens others, which use the manager's present address."""
        for end in list(self._ends.get(node_id, ())):
            end.abort()

    def _forget(self, node_id: str) -> None:
        self._servers.pop(node_id).close()
        peer_socket(self._paths, node_id).unlink(missing_ok=True)
        self.drop(node_id)
        self._failures.pop(node_id, None)

    def _accept(self, node_id: str) -> Relay:
        return _LocalEnd(lambda end: self._opened(node_id, end), lambda end: self._closed(node_id, end))

    def _opened(self, node_id: str, local: Relay) -> None:
        ends = self._ends.setdefault(node_id, set())
        if self._group is None or len(ends) >= CONNECTIONS_PER_PEER:
            local.abort()
            return
        ends.add(local)
        self._group.create_task(self._dial(node_id, local), name="etcd peer out")

    def _closed(self, node_id: str, local: Relay) -> None:
        ends = self._ends.get(node_id)
        if ends is not None:
            ends.discard(local)
            if not ends:
                del self._ends[node_id]

    async def _dial(self, node_id: str, local: Relay) -> None:
        try:
            remote = await self._reach(node_id)
        except (OSError, TimeoutError, ValueError) as fault:
            failures = self._failures[node_id] = self._failures.get(node_id, 0) + 1
            level = logging.WARNING if failures in _LOGGED_FAILURES else logging.DEBUG
            log.log(level, "manager %s cannot be reached (%d times): %s", node_id, failures, fault or "no answer")
            local.abort()
            return
        if self._failures.pop(node_id, 0) >= min(_LOGGED_FAILURES):
            log.info("manager %s is reached again", node_id)
        remote.join(local)

    async def _reach(self, node_id: str) -> Relay:
        address = self._address_of(node_id)
        if not address:
            raise OSError("nobody knows its address")
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            watch_manager(sock)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.sock_connect(sock, (host, int(port)))
                transport, remote = await loop.create_connection(
                    lambda: Relay(lambda end: None, lambda: self._heard(node_id)),
                    sock=sock,
                    ssl=self._security.peer_context(),
                    server_hostname=MANAGER_SERVER_NAME,
                    ssl_shutdown_timeout=SILENCE,
                )
        except BaseException:
            sock.close()
            raise
        found = subject_of((transport.get_extra_info("peercert") or {}).get("subject", ())).common_name
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if found != node_id or chosen != RAFT_PROTOCOL:
            transport.abort()
            raise OSError(f"{address} is node {found}" if found != node_id else f"{address} is no manager of Shoal's")
        return remote


class _LocalEnd(Relay):
    """The end to our own etcd."""

    def __init__(self, opened: Callable[[Relay], None], closed: Callable[[Relay], None]) -> None:
        super().__init__(closed)
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the other manager before anything is read."""
        super().connection_made(transport)
        self._opened(self)


def _listen(folder: Path, name: str) -> socket.socket:
    """Return a listening unix socket in a folder. The folder's path may be longer than a socket's path may be."""
    if "/" in name or name.startswith("."):
        raise InvalidArgument(f"{name} is not the name of a socket")
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (folder / name).unlink(missing_ok=True)
        sock.setblocking(False)
        sock.bind(f"/proc/self/fd/{handle}/{name}")
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(handle)
    return sock
