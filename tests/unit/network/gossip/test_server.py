"""The server on real sockets of this machine's loopback: nodes meet, and strangers get no answer."""

import asyncio
import os
import socket
import time
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shoal.network.gossip import framing
from shoal.network.gossip import server as module
from shoal.network.gossip.config import Config
from shoal.network.gossip.delegate import State
from shoal.network.gossip.messages import Ack, Ping, encode
from shoal.network.gossip.server import TURN, GossipServer
from shoal.network.gossip.sockets import open_sockets
from shoal.network.gossip.strangers import MAX_FAILURES, MAX_STREAMS_OF_ONE_STRANGER
from tests.harness.hosts import PATIENCE
from tests.simulation.airwaves import KEYS, Listening
from tests.unit.network.gossip.fakes import RING


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for UDP and TCP."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        try:
            udp, tcp = open_sockets("127.0.0.1", port)
        except OSError:
            continue
        udp.close()
        tcp.close()
        return port


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is nothing that tells
            await asyncio.sleep(0.01)


@asynccontextmanager
async def nodes(count: int, **options: float) -> AsyncIterator[list[GossipServer]]:
    """Run this many nodes, on addresses of their own. Each node except the first is told the address of the first."""
    port = free_port()
    async with asyncio.TaskGroup() as group:
        made, children = [], []
        for number in range(1, count + 1):
            config = Config(name=f"node{number}", address=f"127.0.0.{number}", port=port, **options)  # type: ignore[arg-type]
            server = GossipServer(config, config.address, Listening(), KEYS)
            made.append(server)
            children.append(group.create_task(server.run()))
            await asyncio.sleep(0)
            if number > 1:
                server.do(lambda memberlist, now: memberlist.call([("127.0.0.1", port)], now))
        yield made
        for child in children:
            child.cancel()


def told(server: GossipServer) -> Listening:
    delegate = server.memberlist.delegate
    assert isinstance(delegate, Listening)
    return delegate


async def test_nodes_meet_and_messages_go_both_ways() -> None:
    async with nodes(3) as (first, second, third):
        await wait_until(lambda: all(node.memberlist.number_of_members == 3 for node in (first, second, third)))
        first.do(lambda memberlist, now: memberlist.send("node2", b"short", reliable=False))
        first.do(lambda memberlist, now: memberlist.send("node3", b"l" * 2_000_000, reliable=True))
        await wait_until(lambda: b"short" in told(second).heard_messages)
        await wait_until(lambda: b"l" * 2_000_000 in told(third).heard_messages)
        traffic = first.traffic
        await wait_until(lambda: min(traffic.sent, traffic.received, traffic.opened, traffic.accepted) > 0)
        assert traffic.sent_bytes > traffic.sent
        assert (traffic.refused, traffic.lost) == (0, 0)
        await second.leave()
        await wait_until(lambda: any(event[:2] == ("left", "node2") for event in told(first).events))
        assert told(first).states


@pytest.mark.slow
async def test_silent_node_is_found_and_answering_ones_are_proven() -> None:
    async with nodes(3, probe_interval=0.1, probe_timeout=0.05, gossip_interval=0.02) as (first, second, third):
        await wait_until(lambda: first.memberlist.number_of_members == 3)
        await wait_until(lambda: first.memberlist.knows("127.0.0.2") and first.memberlist.knows("127.0.0.3"))
        first._loop.remove_reader(third.sockets[0])
        third.sockets[1].close()
        third.memberlist.tick = lambda now: None  # type: ignore[method-assign]
        await wait_until(lambda: any(event[:2] == ("failed", "node3") for event in told(second).events))
        assert {member.name: member.state for member in first.memberlist.members()}["node2"] == State.ALIVE


class Full(socket.socket):
    """A socket whose buffer is full at times."""

    refused = 0
    full = False

    def sendto(self, *args: Any) -> int:
        if self.full:
            self.refused += 1
            raise BlockingIOError
        return super().sendto(*args)


async def test_datagrams_that_the_kernel_does_not_take_at_once_are_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were lost: a round of gossip to many nodes is more than a socket's buffer takes."""
    monkeypatch.setattr(module, "MOST_UNSENT", 3)
    async with nodes(2) as (first, second):
        await wait_until(lambda: first.memberlist.number_of_members == second.memberlist.number_of_members == 2)
        udp = first.sockets[0]
        full = Full(udp.family, udp.type, udp.proto, os.dup(udp.fileno()))
        with full:
            full.setblocking(False)
            monkeypatch.setattr(first, "_udp", full)
            full.full = True
            messages = [b"%d" % number for number in range(4)]
            for message in messages:
                first.do(lambda memberlist, now, message=message: memberlist.send("node2", message, reliable=False))  # type: ignore[misc]
            assert (full.refused, first.traffic.lost) == (1, 1)
            await wait_until(lambda: full.refused > 1)
            full.full = False
            await wait_until(lambda: told(second).heard_messages == messages[:3])
            first._loop.remove_writer(full)
            monkeypatch.undo()


async def test_leave_alone_ends() -> None:
    async with nodes(1) as (alone,):
        async with asyncio.timeout(PATIENCE):
            await alone.leave()


async def test_strangers_streams_are_closed_without_a_word() -> None:
    async with nodes(1) as (server,):
        port = server.memberlist.config.port
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"\x0a\xff\xff\xff\xff",
            b"\x0a\0\0\0\x30" + os.urandom(0x30),
            b"\xf4\x01xxxx",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            async with asyncio.timeout(PATIENCE):
                try:
                    assert await reader.read() == b""
                except ConnectionResetError:
                    pass
            writer.close()
        assert len(server._streams) == 0


async def test_streams_of_one_address_are_limited_and_idle_ones_end() -> None:
    async with nodes(1, stream_timeout=2.0) as (server,):
        port = server.memberlist.config.port
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        await wait_until(lambda: len(server._streams) == MAX_STREAMS_OF_ONE_STRANGER)
        await wait_until(lambda: len(server._streams) == 0)
        for reader, writer in opened:
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()


async def test_datagrams_of_strangers_are_counted_and_then_not_looked_at() -> None:
    async with nodes(2) as (first, second):
        await wait_until(lambda: second.memberlist.number_of_members == 2)
        port = first.memberlist.config.port
        seen = []
        handle = first.memberlist.handle_packet

        def count(data: bytes, source: tuple[str, int], now: float) -> bool:
            seen.append(source[0])
            return handle(data, source, now)

        first.memberlist.handle_packet = count  # type: ignore[method-assign]
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.77", 0))
            for _ in range(500):
                stranger.sendto(os.urandom(60), ("127.0.0.1", port))
        second.do(lambda memberlist, now: memberlist.send("node1", b"through", reliable=False))
        await wait_until(lambda: b"through" in told(first).heard_messages)
        seconds = int(time.monotonic() - began) + 2  # so many of the clock's, at most, were begun meanwhile
        assert 0 < seen.count("127.0.0.77") <= MAX_FAILURES * seconds


async def test_taken_port_is_said() -> None:
    port = free_port()
    udp, tcp = open_sockets("127.0.0.1", port)
    with udp, tcp, pytest.raises(OSError, match="in use"):
        open_sockets("127.0.0.1", port)


async def test_ipv6_socket_serves_both_families() -> None:
    port = free_port()
    config = Config(name="both", address="127.0.0.1", port=port)
    server = GossipServer(config, "::", Listening(), KEYS)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(server.run())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.connect(("127.0.0.1", port))
            peer.send(framing.seal_datagram(RING, encode(Ping(5, "both"))))
            async with asyncio.timeout(PATIENCE):
                answer = await asyncio.get_running_loop().sock_recv(peer, 2000)
        assert encode(Ack(5)) in framing.unpack(framing.open_datagram(RING, answer))
        child.cancel()


async def test_datagrams_that_take_long_leave_the_loop_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 of them were read in one go, however long each took."""
    port = free_port()
    config = Config(name="node1", address="127.0.0.1", port=port)
    server = GossipServer(config, config.address, Listening(), KEYS)
    clock = iter(range(1000))
    monkeypatch.setattr(server, "_loop", types.SimpleNamespace(time=lambda: next(clock) * TURN))
    with server.sockets[0], server.sockets[1], socket.socket(type=socket.SOCK_DGRAM) as sender:
        for _ in range(10):
            sender.sendto(RING.encrypt(encode(Ack(1))), ("127.0.0.1", port))
        turns = 0
        async with asyncio.timeout(PATIENCE):
            while server.traffic.received < 10:
                server._read_datagrams()
                turns += 1
                await asyncio.sleep(0)
        assert turns > 5
