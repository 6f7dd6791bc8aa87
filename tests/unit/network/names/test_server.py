"""The server over loopback sockets: what it carries, what it limits, and that it leaves nothing behind."""

import asyncio
import errno
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSHeader, DNSQuestion, DNSRecord

from shoal.network.directory import Directory
from shoal.network.names.answers import Asker
from shoal.network.names.limits import Limits
from shoal.network.names.server import NameServer
from shoal.network.names.sockets import Listening
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord

PATIENCE = 60.0
LOCAL = "127.0.0.1"


def listening() -> Listening:
    sockets = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        made.bind((LOCAL, 0))
        sockets.append(made)
    sockets[1].listen()
    return Listening(*sockets)


def directory(count: int = 2) -> Directory:
    made = Directory()
    made.apply(
        Changed(
            ENDPOINTS,
            "n",
            str(at),
            "x",
            None,
            EndpointRecord(f"w.{at}", ip_address("10.0.1.1") + at, "s", "web").encode(),
        )
        for at in range(count)
    )
    return made


def message(name: str, number: int = 7) -> bytes:
    return bytes(DNSRecord(DNSHeader(id=number), q=DNSQuestion(name)).pack())


class Upstream:
    """A resolver that answers each question with its own bytes, or with nothing."""

    def __init__(self) -> None:
        self.sockets = listening()
        self.answers = True

    @property
    def port(self) -> int:
        return self.sockets.ports[0]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked, address = await loop.sock_recvfrom(self.sockets.udp, 4096)
            if self.answers:
                reply = asked[:2] + b"\x81\x80" + asked[4:]
                await loop.sock_sendto(self.sockets.udp, reply, address)


class Client:
    """A container's resolver."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.connect((LOCAL, port))

    async def ask(self, name: str, number: int = 7) -> DNSRecord:
        self.socket.send(message(name, number))
        return await self.reply()

    async def reply(self) -> DNSRecord:
        async with asyncio.timeout(PATIENCE):
            return DNSRecord.parse(await asyncio.get_running_loop().sock_recv(self.socket, 65535))


@asynccontextmanager
async def running(limits: Limits | None = None, **fields: Any) -> AsyncIterator[tuple[NameServer, Upstream, Client]]:
    upstream = Upstream()
    async with asyncio.TaskGroup() as group:
        resolver = group.create_task(upstream.run())
        server = NameServer(
            directory(), group, lambda: (LOCAL,), limits=limits, rng=random.Random(1), port=upstream.port
        )
        sockets = listening()
        client = Client(sockets.ports[0])
        server.serve(Asker("c", ("n",), **fields), sockets)
        try:
            yield server, upstream, client
        finally:
            for container in server.served():
                server.stop(container)
            resolver.cancel()
            client.socket.close()
            upstream.sockets.close()
    assert server._outside.all == 0


async def until(happened: Callable[[], int]) -> None:
    """Let the loop turn until something has been counted."""
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110 - a counter is no event
            await asyncio.sleep(0)


async def by_tcp(port: int, *messages: bytes) -> list[DNSRecord]:
    reader, writer = await asyncio.open_connection(LOCAL, port)
    found = []
    try:
        for one in messages:
            writer.write(len(one).to_bytes(2, "big") + one)
            async with asyncio.timeout(PATIENCE):
                length = int.from_bytes(await reader.readexactly(2), "big")
                found.append(DNSRecord.parse(await reader.readexactly(length)))
    finally:
        writer.close()
        await writer.wait_closed()
    return found


async def test_a_name_of_the_directory_is_answered_and_another_asked_outside() -> None:
    async with running() as (server, _, client):
        reply = await client.ask("web")
        assert {str(one.rdata) for one in reply.rr} == {"10.0.1.1", "10.0.1.2"}
        reply = await client.ask("example.com", 99)
        assert (reply.header.id, reply.header.ra, str(reply.q.qname)) == (99, 1, "example.com.")
        assert (server.counts.questions, server.counts.answered, server.counts.outside) == (2, 1, 1)
        assert server.waiting == 0
        assert 0 < server.counts.seconds < server.counts.outside_seconds + PATIENCE


async def test_an_asker_on_internal_networks_alone_is_told_so() -> None:
    async with running(forward=False) as (server, _, client):
        assert (await client.ask("example.com")).header.rcode == 2
        assert server.counts.outside == 0


async def test_a_refusal_has_the_words_of_a_header_alone() -> None:
    async with running() as (server, _, client):
        client.socket.send(message("x")[:-1])
        assert (await client.reply()).header.rcode == 1
        client.socket.send(bytes(5000))  # longer than questions are
        client.socket.send(b"short")
        assert (await client.ask("web")).header.rcode == 0
        assert server.counts.invalid == 3


async def test_too_many_questions_outside_are_refused_and_no_others() -> None:
    async with running(Limits(outside=3)) as (server, upstream, client):
        upstream.answers = False
        for number in range(3):
            client.socket.send(message("example.com", number))
        assert (await client.ask("example.com", 55)).header.rcode == 5
        assert (await client.ask("web")).header.rcode == 0
        other = listening()
        server.serve(Asker("polite", ("n",)), other)
        upstream.answers = True
        polite = Client(other.ports[0])
        assert (await polite.ask("example.com")).header.rcode == 0
        polite.socket.close()
        assert server.counts.refused == 1


async def test_a_flood_waits_in_its_own_socket() -> None:
    async with running(Limits(rate=50, turn=10)) as (server, _, client):
        other = listening()
        server.serve(Asker("polite", ("n",)), other)
        polite = Client(other.ports[0])
        for number in range(120):
            client.socket.send(message("web", number))
        await until(lambda: server.counts.paused)
        assert server.counts.questions < 120
        for number in range(20):
            assert (await polite.ask("web", number)).header.id == number
        assert server.counts.questions < 120
        for number in range(70):  # and goes on, as fast as its rate is
            assert (await client.reply()).header.id == number
        polite.socket.close()


async def test_questions_by_tcp_are_answered_one_after_the_other() -> None:
    async with running() as (server, _, _):
        port = next(iter(server._served.values())).sockets.ports[1]
        replies = await by_tcp(port, message("web", 1), message("w.0", 2))
        assert [len(reply.rr) for reply in replies] == [2, 1]
        assert [reply.header.id for reply in replies] == [1, 2]


async def test_a_tcp_connection_is_closed_after_its_questions_its_time_and_when_there_are_too_many() -> None:
    async with running(Limits(connections=2, connection_questions=1, idle=0.05)) as (server, _, _):
        served = next(iter(server._served.values()))
        port = served.sockets.ports[1]
        idle = [await asyncio.open_connection(LOCAL, port) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            assert [await reader.read() for reader, _ in idle] == [b""] * 3
        assert server.counts.refused == 1
        reader, writer = await asyncio.open_connection(LOCAL, port)
        one = message("web")
        writer.write(len(one).to_bytes(2, "big") + one)
        async with asyncio.timeout(PATIENCE):
            assert len(await reader.read()) == 2 + len(one) + 2 * 16
        for _, each in [*idle, (reader, writer)]:
            each.close()


async def test_sockets_go_to_a_successor_without_a_question_lost() -> None:
    async with running() as (server, upstream, client):
        upstream.answers = False
        client.socket.send(message("example.com"))
        await until(lambda: server.counts.outside)
        assert server.waiting == 1
        sockets = server.release("c")
        client.socket.send(message("web", 8))  # while nobody serves
        udp, tcp = sockets.udp.detach(), sockets.tcp.detach()
        server.serve(Asker("c", ("n",)), Listening.from_descriptors(udp, tcp))
        assert (await client.reply()).header.id == 8


async def test_who_asks_may_be_on_other_networks_later() -> None:
    async with running() as (server, _, client):
        assert (await client.ask("w.0")).rr
        assert (await client.ask("w.0")).rr  # as it was remembered
        server._directory.apply([Changed(ENDPOINTS, "n", "0", "x", None, None)])
        assert (await client.ask("w.0")).header.rcode == 0
        assert server.counts.outside == 1
        assert (await client.ask("w.1")).rr
        server.update(Asker("c", ("m",), forward=False))
        assert (await client.ask("w.1")).header.rcode == 2
        assert (await client.ask("web")).header.rcode == 2
        server.stop("nobody")


async def test_without_descriptors_left_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (server, _, client):
        served = next(iter(server._served.values()))
        monkeypatch.setattr("shoal.network.names.server._DEAF", 0.01)
        exhausted = True

        class Full:
            """A listening socket whose process has no descriptor left."""

            def __init__(self, real: socket.socket) -> None:
                self.real = real

            def accept(self) -> tuple[socket.socket, object]:
                if exhausted:
                    raise OSError(errno.EMFILE, "too many open files")
                return self.real.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

        server.release("c")
        server.serve(served.who, Listening(served.sockets.udp, Full(served.sockets.tcp)))  # type: ignore[arg-type]
        served = server._served["c"]
        connection = await asyncio.open_connection(LOCAL, served.sockets.ports[1])
        await until(lambda: served.deaf is not None)
        assert (await client.ask("web")).header.rcode == 0
        exhausted = False
        assert len((await by_tcp(served.sockets.ports[1], message("web")))[0].rr) == 2
        connection[1].close()
        await connection[1].wait_closed()
        exhausted = True
        connection = await asyncio.open_connection(LOCAL, served.sockets.ports[1])
        await until(lambda: served.deaf is not None)
        connection[1].close()  # and it is stopped while nobody listens


async def test_a_connection_that_fails_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as (server, _, client):
        port = server._served["c"].sockets.ports[1]
        with monkeypatch.context() as broken:
            broken.setattr("shoal.network.names.server.answer", None)
            with pytest.raises(asyncio.IncompleteReadError):
                await by_tcp(port, message("web"))
        assert "of container c" in caplog.text
        assert len((await by_tcp(port, message("web")))[0].rr) == len((await client.ask("web")).rr) == 2
