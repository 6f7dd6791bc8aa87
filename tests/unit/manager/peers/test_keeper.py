"""The process that carries etcd's bytes, as both ends of a tunnel on loopback; etcds are sockets that echo."""

import asyncio
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from shoal.ca.csr import make_csr, new_key
from shoal.ca.security import RAFT_PROTOCOL, SecurityConfig
from shoal.manager.peers import keeper
from shoal.manager.peers.keeper import TunnelsProcess
from shoal.manager.port.health import HealthServer
from shoal.manager.port.server import ManagerServer, listen
from shoal.paths import Paths
from shoal.store.etcd_config import peer_socket
from tests.unit.ca.swarms import Swarm

A, B = "a" * 25, "b" * 25
MEMBERS = json.dumps([{"id": 0xA1, "peerURLs": [f"unix://{A}:1"]}, {"id": 0xB1, "peerURLs": [f"unix://{B}:1"]}])
QUESTION = b"GET /raft/probing HTTP/1.1\r\nHost: node:1\r\nX-Server-From: a1\r\n\r\n"
"""What an etcd may ask another one at any time: here it has the same words for an answer."""

pytestmark = pytest.mark.slow


@dataclass
class Ways:
    """Manager A's tunnel to manager B."""

    swarm: Swarm
    of_a: SecurityConfig
    address: str
    a: TunnelsProcess
    b: TunnelsProcess
    member: list[bool]  # not empty, because B's etcd has a member
    way: Path  # the socket at which A's etcd reaches B's
    removed: list[str] = field(default_factory=list)
    heard_by_a: set[str] = field(default_factory=set)
    heard_by_b: set[str] = field(default_factory=set)


async def wait(condition: Callable[[], object], timeout: float = 20) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(folder: Path, caller: Callable[[Swarm], SecurityConfig] | None = None) -> AsyncIterator[Ways]:
    swarm = Swarm(folder / "ca", now=time.time())
    of_a, of_b = caller(swarm) if caller else swarm.manager(A), swarm.manager(B)
    removed: list[str] = []
    member: list[bool] = []
    heard_by_a: set[str] = set()
    heard_by_b: set[str] = set()
    paths = {name: Paths(folder / name, folder / f"{name}x") for name in (A[:2], B[:2])}
    of = dict(zip((A, B), paths.values(), strict=True))
    for each in of.values():
        each.etcd.mkdir(parents=True)
    a = TunnelsProcess(of[A], of_a, removed=lambda: (), heard=heard_by_a.add)
    b = TunnelsProcess(of[B], of_b, removed=lambda: removed, heard=heard_by_b.add, is_member=lambda: bool(member))
    server = ManagerServer(of_b, [HealthServer(lambda: True)], is_removed=removed.__contains__, raft_socket=b.take)
    listener = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    ways = Ways(swarm, of_a, address, a, b, member, peer_socket(of[A], B), removed, heard_by_a, heard_by_b)

    with Echo(peer_socket(of[B], B)):
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(each) for each in (server.run(listener), a.run(), b.run())]
            await asyncio.sleep(0)
            yield ways
            await ways.b.serve({})  # it may be about to start
            for child in children:
                child.cancel()
    assert not list(of[A].etcd.iterdir())
    assert a.pid is b.pid is None


class Echo:
    """An etcd that echoes whatever the loop does, and answers who its members are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> None:
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with sock:
            try:
                while data := sock.recv(65536):
                    if data.startswith(b"GET /members HTTP/1.0\r\n"):
                        return sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + MEMBERS.encode())
                    sock.sendall(data)
            except OSError:
                return None


def called(path: Path) -> socket.socket:
    """Connect as an etcd does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def ask(sock: socket.socket) -> bool:
    """Return whether an answer comes to a question."""
    sock.sendall(QUESTION)
    answer = b""
    while len(answer) < len(QUESTION) and (data := sock.recv(len(QUESTION))):
        answer += data
    return answer == QUESTION


async def echoes(path: Path) -> bool:
    """Return whether bytes come back."""

    def call() -> bool:
        with called(path) as sock:
            return ask(sock)

    try:
        return await asyncio.to_thread(call)
    except (ConnectionError, FileNotFoundError):
        return False


async def wait_echo(path: Path) -> None:
    async with asyncio.timeout(60):
        while not await echoes(path):  # noqa: ASYNC110 - as etcd tries again
            await asyncio.sleep(0.02)


async def test_a_slow_start_is_waited_for_longer_than_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ORDERS_TIMEOUT", 0.02)  # Python alone takes as long to start
    async with running(tmp_path) as ways:
        await ways.a.serve({B: ways.address})
        assert ways.a.pid is not None
        os.kill(ways.a.pid, signal.SIGSTOP)
        with pytest.raises(OSError, match="does not answer"):
            await ways.a.serve({})
        os.kill(ways.a.pid, signal.SIGCONT)


async def test_there_is_no_process_until_there_is_another_manager(tmp_path: Path) -> None:
    async with running(tmp_path) as ways:
        await ways.a.serve({})
        assert ways.a.pid is None
        await ways.a.serve({B: ways.address})
        assert ways.a.pid is not None
        assert ways.way.is_socket()
        assert ways.b.pid is None
        await wait_echo(ways.way)
        await wait(lambda: B in ways.heard_by_a and A in ways.heard_by_b)
        await ways.a.serve({})
        assert not ways.way.exists()


async def test_bytes_pass_while_the_loop_is_busy(tmp_path: Path) -> None:
    """The loop is blocked until this many answers have come. If they had to wait for the loop, there would be none."""
    begun, away, passed = threading.Event(), threading.Event(), threading.Event()

    def ask_on() -> None:
        with called(ways.way) as sock:
            assert ask(sock)
            begun.set()
            away.wait(60)
            for _ in range(50):
                assert ask(sock)
            passed.set()

    async with running(tmp_path) as ways:
        await ways.a.serve({B: ways.address})
        await wait_echo(ways.way)
        thread = threading.Thread(target=ask_on)
        thread.start()
        assert await asyncio.to_thread(begun.wait, 60)
        away.set()
        assert passed.wait(60)
        await asyncio.to_thread(thread.join)


async def test_a_connection_waits_for_the_process_where_etcd_is_a_member_and_is_closed_where_it_is_none(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as ways:
        await ways.a.serve({B: ways.address})
        assert not await echoes(ways.way)
        await ways.b.serve({})
        pid = ways.b.pid
        assert pid is not None
        ways.member.append(True)
        os.kill(pid, signal.SIGKILL)
        await wait(lambda: ways.b.pid is None)
        assert await echoes(ways.way)


async def test_a_process_that_is_killed_is_started_again_with_all_that_it_had(tmp_path: Path) -> None:
    async with running(tmp_path) as ways:
        await ways.a.serve({B: ways.address})
        await wait_echo(ways.way)
        for killed in (ways.a, ways.b):
            pid = killed.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await wait(partial(lambda killed, pid: killed.pid not in (None, pid), killed, pid))
            await wait_echo(ways.way)


async def test_a_manager_that_is_removed_is_let_in_no_more_and_its_connections_end(tmp_path: Path) -> None:
    async with running(tmp_path) as ways:
        await ways.a.serve({B: ways.address})
        await wait_echo(ways.way)
        with called(ways.way) as sock:
            assert await asyncio.to_thread(ask, sock)
            ways.removed.append(A)
            ways.b.look()
            assert await asyncio.to_thread(sock.recv, 1) == b""
        assert not await echoes(ways.way)


async def test_a_worker_and_a_stranger_are_not_let_in(tmp_path: Path) -> None:
    async with running(tmp_path, lambda swarm: swarm.node(A)) as ways:
        ways.b.start()
        await ways.b.serve({})
        await ways.a.serve({B: ways.address})
        assert not await echoes(ways.way)

        def knock() -> bytes:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols([RAFT_PROTOCOL])
            host, _, port = ways.address.partition(":")
            try:
                with (
                    socket.create_connection((host, int(port)), timeout=20) as sock,
                    context.wrap_socket(sock) as wire,
                ):
                    wire.sendall(b"GET /members HTTP/1.1\r\n\r\n")
                    return wire.recv(1)
            except (ssl.SSLError, ConnectionError):
                return b""

        assert await asyncio.to_thread(knock) == b""
        assert not ways.heard_by_b


async def test_a_renewed_certificate_is_shown_from_then_on(tmp_path: Path) -> None:
    async with running(tmp_path, lambda swarm: swarm.node(A)) as ways:
        ways.b.start()
        await ways.b.serve({})
        await ways.a.serve({B: ways.address})
        assert not await echoes(ways.way)  # as a worker's
        key = new_key()
        role = ways.swarm.manager("c" * 25).identity.role
        chain = ways.swarm.root.issue(make_csr(key), A, role, ways.swarm.cluster_id, now=time.time())
        await ways.of_a.renew(chain, key, time.time())
        await wait_echo(ways.way)
