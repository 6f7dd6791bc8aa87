"""Two managers' tunnels on loopback with real TLS. The etcds are sockets that echo, or do not read."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shoal.ca.security import SecurityConfig
from shoal.manager.peers.incoming import CONNECTIONS_PER_PEER, PeerGate
from shoal.manager.peers.outgoing import PeerTunnels
from shoal.manager.port.health import HealthServer
from shoal.manager.port.server import ManagerServer, listen
from shoal.paths import Paths
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.etcd_peers import etcd, head, message, post

A, B = "a" * 25, "b" * 25
ID = 0xA1B2  # A's in etcd's cluster
PROBE = head("GET", "/raft/probing", None)


@dataclass
class Ways:
    """Manager A's tunnels to manager B, whose etcd is a socket in `etcd_of_b`."""

    swarm: Swarm
    address: str
    gate: PeerGate
    tunnels: PeerTunnels
    folder: Path
    etcd_of_b: Path
    removed: set[str] = field(default_factory=set)
    heard_by_a: list[str] = field(default_factory=list)
    heard_by_b: list[str] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=lambda: {A: ID, B: 0xB})

    async def connect(self, node_id: str = B) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.folder / f"{node_id}:1"))


async def wait(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(folder: Path, *, caller: SecurityConfig | None = None) -> AsyncIterator[Ways]:
    swarm = Swarm(folder / "ca", now=time.time())
    of_a, of_b = caller or swarm.manager(A), swarm.manager(B)
    paths, etcd_of_b = Paths(folder / "data", folder), folder / "b.sock"
    a_folder = paths.etcd
    a_folder.mkdir()
    removed: set[str] = set()
    heard_by_a: list[str] = []
    heard_by_b: list[str] = []
    addresses: dict[str, str] = {}
    gate = PeerGate(etcd_of_b, swarm.cluster_id, is_removed=removed.__contains__, heard=heard_by_b.append)
    server = ManagerServer(of_b, [HealthServer(lambda: True)], is_removed=removed.__contains__, raft=gate.accept)
    listener = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    addresses[B] = address
    tunnels = PeerTunnels(paths, of_a, address_of=addresses.get, heard=heard_by_a.append)
    ways = Ways(
        swarm, address, gate, tunnels, a_folder, etcd_of_b, removed, heard_by_a, heard_by_b, addresses
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        children = [
            group.create_task(server.run(listener)),
            group.create_task(gate.run()),
            group.create_task(tunnels.run()),
        ]
        await asyncio.sleep(0)
        await tunnels.serve([B])
        yield ways
        for child in children:
            child.cancel()
    assert not list(a_folder.iterdir())


async def test_bytes_come_back_from_the_other_managers_etcd(tmp_path: Path) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members):
        reader, writer = await ways.connect()
        payload = post(ID, message(ID, entry=bytes(range(256)) * 8192))  # 2 MiB, more than both buffers can hold

        async def send() -> None:
            writer.write(payload)
            await writer.drain()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(send())
            assert await reader.readexactly(len(payload)) == payload
        writer.close()
    assert set(ways.heard_by_a) == {B}
    assert set(ways.heard_by_b) == {A}


async def test_what_was_sent_before_the_end_arrives(tmp_path: Path) -> None:
    got = bytearray()
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            got.extend(data)
        ended.set()
        writer.close()

    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members, serve):
        _, writer = await ways.connect()
        payload = post(ID, message(ID, entry=b"x" * 1_000_000))
        writer.write(payload)
        writer.write_eof()
        async with asyncio.timeout(60):
            await ended.wait()
        writer.close()
    assert got == payload


async def test_a_side_that_does_not_read_stops_the_other(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()
        writer.close()

    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members, serve):
        _, writer = await ways.connect()
        writer.write(head("POST", "/raft", ID, Content_Length=str(10**10)))
        writer.write(message(ID) + b"\x3a\xff\xff\xff\xff\x0f")
        sent = 0
        try:
            async with asyncio.timeout(1):
                while True:
                    writer.write(b"x" * 65536)
                    sent += 65536
                    await writer.drain()
        except TimeoutError:
            pass
        # The buffers of the kernel for three connections, and ours. Without limits it would be unbounded.
        assert 0 < sent < 32 * 1024 * 1024
        release.set()
        writer.transport.abort()


async def test_a_worker_is_not_let_in(tmp_path: Path) -> None:
    swarm_folder = tmp_path / "first"
    swarm_folder.mkdir()
    async with running(swarm_folder) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        worker = ways.swarm.node("w" * 25)
        host, port = ways.address.split(":")
        context = worker.peer_context()
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="swarm-manager")
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "shoal-raft"
        writer.write(b"GET /raft HTTP/1.1\r\n\r\n")
        assert await _ends(reader)
        writer.transport.abort()
        assert not served


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(60):
            return await reader.read() == b""
    except (ConnectionError, ssl.SSLError):
        return True


@pytest.mark.parametrize("who", ["nobody", "foreign", "removed"])
async def test_strangers_foreigners_and_removed_managers_are_not_let_in(tmp_path: Path, who: str) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        if who == "removed":
            ways.removed.add(A)
            context = ways.tunnels._security.peer_context()
        elif who == "foreign":
            foreign = Swarm(tmp_path / "foreign", now=time.time())
            context = foreign.manager(A).peer_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["shoal-raft"])
        host, port = ways.address.split(":")
        try:
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=context, server_hostname="swarm-manager"
            )
        except (ConnectionError, ssl.SSLError):
            return
        assert await _ends(reader)
        writer.transport.abort()
        assert not served


async def test_another_managers_certificate_is_not_taken_for_the_right_one(tmp_path: Path) -> None:
    other = "d" * 25
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        ways.addresses[other] = ways.address
        await ways.tunnels.serve([B, other])
        reader, writer = await ways.connect(other)
        writer.write(b"hello")
        assert await _ends(reader)
        writer.close()
        assert not served


async def test_a_manager_that_moved_is_found_at_its_new_address(tmp_path: Path) -> None:
    """Known fault 75."""
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members):
        right = ways.addresses[B]
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        ways.addresses[B] = f"127.0.0.1:{closed.getsockname()[1]}"
        reader, writer = await ways.connect()
        assert await _ends(reader)
        writer.close()
        closed.close()
        ways.addresses[B] = right
        reader, writer = await ways.connect()
        writer.write(PROBE)
        async with asyncio.timeout(60):
            assert await reader.readexactly(len(PROBE)) == PROBE
        writer.close()


async def test_an_etcd_that_does_not_run_ends_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as ways:
        reader, writer = await ways.connect()
        assert await _ends(reader)
        writer.close()


async def test_connections_of_one_manager_have_a_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        held = [await ways.connect() for _ in range(CONNECTIONS_PER_PEER)]
        for _, each in held:
            each.write(PROBE)
        await wait(lambda: len(served) == CONNECTIONS_PER_PEER)
        reader, writer = await ways.connect()
        assert await _ends(reader)
        for _, each in [*held, (reader, writer)]:
            each.transport.abort()


async def test_members_come_and_go(tmp_path: Path) -> None:
    other = "e" * 25
    async with running(tmp_path) as ways:
        await ways.tunnels.serve([B, other])
        assert {path.name for path in ways.folder.iterdir()} == {f"{B}:1", f"{other}:1"}
        await ways.tunnels.serve([other])
        assert {path.name for path in ways.folder.iterdir()} == {f"{other}:1"}
        assert set(ways.tunnels.node_ids) == {other}


@pytest.mark.parametrize("how", ["expelled", "joined anew", "blacklisted"])
async def test_connections_of_who_is_no_member_any_more_end(tmp_path: Path, how: str) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        reader, writer = await ways.connect()
        writer.write(PROBE)
        await wait(lambda: len(served) == 1)
        ways.gate.look()  # nothing ends if the check finds no change
        writer.write(PROBE)
        async with asyncio.timeout(60):
            await reader.readexactly(2 * len(PROBE))
        if how == "expelled":
            del ways.members[A]
        elif how == "joined anew":
            ways.members[A] = ID + 1
        else:
            ways.removed.add(A)
        ways.gate.look()
        assert await _ends(reader)
        writer.close()


async def test_a_manager_that_is_no_member_is_not_let_in_until_it_is_one(tmp_path: Path) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        del ways.members[A]
        for _ in range(3):
            reader, writer = await ways.connect()
            writer.write(PROBE)
            assert await _ends(reader)
            writer.close()
        assert not served
        assert not ways.heard_by_b
        ways.members[A] = ID
        reader, writer = await ways.connect()
        writer.write(PROBE)
        async with asyncio.timeout(60):
            await reader.readexactly(len(PROBE))
        writer.close()


async def test_what_is_not_its_members_to_say_ends_a_connection_before_it_passes(tmp_path: Path) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members) as served:
        for said in (post(0xB, message(0xB)), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", head("GET", "/leases", None)):
            reader, writer = await ways.connect()
            writer.write(said)
            assert await _ends(reader)
            writer.close()
        assert not served


FACTS = {"X_Etcd_Cluster_ID": "ab12", "X_Server_Version": "3.4.23", "X_Min_Cluster_Version": "3.0.0"}


@pytest.mark.parametrize("status", [b"410 Gone", b"404 Not Found"])
async def test_one_that_was_a_member_is_told_that_it_is_none_any_more(tmp_path: Path, status: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 " + status + b"\r\n\r\n")
        writer.close()

    asked: list[bytes] = []
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members, serve):
        del ways.members[A]
        reader, writer = await ways.connect()
        writer.write(head("GET", f"/raft/stream/message/{ID:x}", ID, **FACTS))
        if status.startswith(b"410"):
            async with asyncio.timeout(60):
                assert (await reader.read()).startswith(b"HTTP/1.1 410 Gone\r\nX-Server-Version: 3.4.23\r\n")
        else:
            assert await _ends(reader)
        writer.close()
    assert len(asked) == 1


async def test_a_knock_shows_that_its_manager_is_none_any_more(tmp_path: Path) -> None:
    async with running(tmp_path) as ways, etcd(ways.etcd_of_b, ways.members):
        reader, writer = await ways.connect()
        writer.write(PROBE)
        async with asyncio.timeout(60):
            await reader.readexactly(len(PROBE))
        del ways.members[A]
        again, other = await ways.connect()
        other.write(PROBE)
        # Nobody tells the gate; it asks by itself.
        assert await _ends(reader)
        async with asyncio.timeout(60):
            try:
                while await again.read(4096):
                    pass
            except ConnectionError:
                pass
        for each in (writer, other):
            each.close()
