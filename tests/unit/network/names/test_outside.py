"""Asking servers outside over loopback sockets: by UDP, by TCP, without a server; and which servers the host asks."""

import asyncio
import os
import socket
from pathlib import Path

from dnslib import EDNS0, DNSHeader, DNSQuestion, DNSRecord

from shoal.network.names.outside import Asking, HostServers
from shoal.network.names.questions import Question, read

LOCAL = "127.0.0.1"
PATIENCE = 60.0


def question() -> Question:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("example.com"))
    made.add_ar(EDNS0(udp_len=4096))
    found = read(bytes(made.pack()))
    assert isinstance(found, Question)
    return found


def bound(kind: int, port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOCAL, port))
    except OSError:
        made.close()
        raise
    return made


def pair() -> tuple[socket.socket, socket.socket]:
    """Return a socket for UDP and one for TCP with one number, which another program may have for one of them."""
    for _ in range(100):
        udp = bound(socket.SOCK_DGRAM)
        try:
            return udp, bound(socket.SOCK_STREAM, udp.getsockname()[1])
        except OSError:
            udp.close()
    raise AssertionError("no number is free for both")


async def asked(port: int, *servers: str, tcp: bool = False, group: asyncio.TaskGroup) -> bytes | None:
    reply: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    one = question()
    Asking(one, servers, tcp=tcp, limit=one.size, group=group, then=reply.set_result, port=port).start()
    async with asyncio.timeout(PATIENCE):
        return await reply


async def test_forged_replies_are_passed_over() -> None:
    loop = asyncio.get_running_loop()
    with bound(socket.SOCK_DGRAM) as server, bound(socket.SOCK_DGRAM) as stranger:

        async def lie() -> None:
            message, address = await loop.sock_recvfrom(server, 4096)
            right = message[:2] + b"\x81\x80" + message[4:]
            stranger.sendto(right + b"stranger", address)  # right but for its address
            server.sendto(bytes([message[0] ^ 1]) + right[1:] + b"wrong id", address)
            server.sendto(right + b"true", address)

        async with asyncio.TaskGroup() as group:
            group.create_task(lie())
            reply = await asked(server.getsockname()[1], LOCAL, group=group)
        assert reply
        assert reply.endswith(b"true")
        assert reply[:2] == b"\0\7"


async def test_a_reply_that_was_cut_off_is_fetched_by_tcp() -> None:
    loop = asyncio.get_running_loop()
    udp, tcp = pair()
    with udp, tcp:
        tcp.listen()

        async def cut() -> None:
            message, address = await loop.sock_recvfrom(udp, 4096)
            udp.sendto(message[:2] + b"\x83\x80" + message[4:], address)
            connection, _ = await loop.sock_accept(tcp)
            with connection:
                message = (await loop.sock_recv(connection, 4096))[2:]
                whole = message[:2] + b"\x81\x80" + message[4:] + b"whole"
                await loop.sock_sendall(connection, len(whole).to_bytes(2, "big") + whole)

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            reply = await asked(udp.getsockname()[1], LOCAL, group=group)
        assert reply
        assert reply.endswith(b"whole")


async def test_nobody_listens_or_there_is_no_such_server() -> None:
    with bound(socket.SOCK_DGRAM) as closed:
        port = closed.getsockname()[1]
    async with asyncio.TaskGroup() as group:
        assert await asked(port, LOCAL, "127.0.0.2", "no address", group=group) is None
        assert await asked(port, LOCAL, tcp=True, group=group) is None
        assert await asked(port, group=group) is None


async def test_what_is_cancelled_leaves_nothing() -> None:
    with bound(socket.SOCK_DGRAM) as udp, bound(socket.SOCK_STREAM) as tcp:
        tcp.listen()
        async with asyncio.TaskGroup() as group:
            for made, by_tcp in ((udp, False), (tcp, True), (tcp, True)):
                one = question()
                asking = Asking(
                    one,
                    [LOCAL],
                    tcp=by_tcp,
                    limit=512,
                    group=group,
                    then=lambda _: None,
                    port=made.getsockname()[1],
                )
                asking.start()
                if made is udp:
                    await asyncio.get_running_loop().sock_recv(udp, 100)
                asking.cancel()
                assert not asking._sockets
                assert not asking._children


def test_whom_the_host_asks_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    servers = HostServers(conf)
    assert servers() == ()
    conf.write_text("nameserver 192.0.2.1\nnameserver 127.0.0.11\n")
    assert servers() == ("192.0.2.1",)
    conf.write_text("nameserver 192.0.2.2\n")
    os.utime(conf, ns=(1, 1))
    assert servers() == ("192.0.2.2",)
    conf.unlink()
    assert servers() == ()
