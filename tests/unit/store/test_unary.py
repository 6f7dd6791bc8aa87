import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hpack import Encoder

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import Unavailable
from shoal.store import unary
from shoal.store.etcd_process import EtcdProcess
from shoal.store.unary import MAX_REQUEST_BYTES, UnaryChannel, Unexpected, request_headers

TXN = request_headers("/etcdserverpb.KV/Txn")
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">LBL", len(payload) << 8 | kind, flags, stream) + payload


def headers(*flags: int, stream: int = 1, **values: str) -> bytes:
    names = [(name.replace("_", "-"), value, True) for name, value in values.items()]
    return frame(HEADERS, sum(flags, END_HEADERS), stream, bytes(Encoder().encode(names)))


def first(stream: int = 1) -> bytes:
    block = bytes(Encoder().encode([(":status", "200", True), ("content-type", "application/grpc", True)]))
    return frame(HEADERS, END_HEADERS, stream, block)


def message(text: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return frame(DATA, flags, stream, struct.pack(">BL", 0, len(text)) + text)


def last(status: str = "0", stream: int = 1, **values: str) -> bytes:
    return headers(END_STREAM, stream=stream, grpc_status=status, **values)


def trailers_only(status: str, words: str) -> bytes:
    values = {":status": "200", "grpc-status": status, "grpc-message": words}
    block = bytes(Encoder().encode([(name, value, True) for name, value in values.items()]))
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, block)


@asynccontextmanager
async def serving(
    path: Path, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[UnaryChannel]:
    """Yield a server that handles each connection as a test wants, after the HTTP/2 preface, and a channel to it."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert (await read_frame(reader))[0] == SETTINGS
        writer.write(frame(SETTINGS, 0, 0))
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(accept, path)
    channel = UnaryChannel(path)
    try:
        async with asyncio.timeout(60):
            yield channel
    finally:
        channel.close()
        server.close()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    size_and_kind, flags, stream = struct.unpack(">LBL", await reader.readexactly(9))
    return size_and_kind & 0xFF, flags, stream, await reader.readexactly(size_and_kind >> 8)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Return the next request's message, and skip whatever comes before it."""
    while True:
        kind, flags, _, payload = await read_frame(reader)
        if kind == DATA:
            assert flags == END_STREAM
            return payload[5:]


def answering(*parts: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
        await reader.read()

    return serve


def put(key: bytes, value: bytes) -> bytes:
    request = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))])
    return request.SerializeToString()


async def test_many_transactions_of_etcd_at_once_and_more_than_a_window_of_them(etcd: EtcdProcess) -> None:
    channel = UnaryChannel(etcd.socket)
    large = put(b"k", bytes(9_000))
    unsent = 30  # 270 KB: etcd makes room as it reads
    while unsent:
        await asyncio.sleep(0)
        unsent -= await channel.call(TXN, large) is not None
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(channel.call(TXN, put(b"%d" % n, b"v"))) for n in range(50)]
    replies = [pb.TxnResponse.FromString(call.result() or b"") for call in calls]
    assert len({reply.header.revision for reply in replies}) == 50
    read = await etcd.client.range(pb.RangeRequest(key=b"\0", range_end=b"\0", count_only=True))
    assert read.count == 51
    channel.close()


async def test_etcd_s_refusal_has_its_status_and_its_words(etcd: EtcdProcess) -> None:
    channel = UnaryChannel(etcd.socket)
    twice = put(b"k", b"v") + put(b"k", b"v")  # repeated fields of two messages are one after the other
    with pytest.raises(GRPCError, match="duplicate key given in txn request") as caught:
        await channel.call(TXN, twice)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert await channel.call(TXN, put(b"k", b"v"))
    channel.close()


async def test_what_does_not_fit_is_not_sent(etcd: EtcdProcess) -> None:
    channel = UnaryChannel(etcd.socket)
    assert await channel.call(TXN, put(b"k", bytes(MAX_REQUEST_BYTES))) is None
    assert (await etcd.client.range(pb.RangeRequest(key=b"k"))).count == 0
    channel.close()


async def test_replies_in_pieces_and_out_of_order(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert [await read_request(reader), await read_request(reader)] == [b"one", b"two"]
        ping = frame(PING, 0, 0, b"12345678")
        halves = (frame(DATA, 0, 3, b"\0\0\0\0\x06sec"), frame(0xEE, 0, 0, b"?"), frame(DATA, 0, 3, b"ond"))
        for piece in b"".join((ping, first(3), *halves, last(stream=3), first(1), message(b"first"), last())):
            writer.write(bytes([piece]))
            await writer.drain()
        while True:
            kind, flags, _, payload = await read_frame(reader)
            if kind == PING:
                assert (flags, payload) == (1, b"12345678")
                break
        await reader.read()

    async with serving(tmp_path / "s", serve) as channel:
        async with asyncio.TaskGroup() as group:
            one, two = (group.create_task(channel.call(TXN, text)) for text in (b"one", b"two"))
        assert (one.result(), two.result()) == (b"first", b"second")


async def test_a_status_that_nobody_knows(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", answering(first(), last("99", grpc_message="what"))) as channel:
        with pytest.raises(GRPCError, match="what") as caught:
            await channel.call(TXN, b"")
        assert caught.value.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((first(), last("5", grpc_message="not%20here")), "not here"),
        ((trailers_only("5", "not here"),), "not here"),
    ],
)
async def test_a_refusal_with_and_without_headers_of_its_own(
    tmp_path: Path, parts: tuple[bytes, ...], words: str
) -> None:
    async with serving(tmp_path / "s", answering(*parts)) as channel:
        with pytest.raises(GRPCError, match=words) as caught:
            await channel.call(TXN, b"")
        assert caught.value.status is Status.NOT_FOUND


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b"HTTP/1.1 400 Bad Request\r\n\r\n",), id="HTTP/1"),
        pytest.param((struct.pack(">LBL", 16_385 << 8 | DATA, 0, 1),), id="a frame that is too long"),
        pytest.param((frame(HEADERS, 0, 1, b""),), id="headers in parts"),
        pytest.param((frame(HEADERS, END_HEADERS | PADDED, 1, b"\0"),), id="padded headers"),
        pytest.param((frame(HEADERS, END_HEADERS, 1, b"\xbe"),), id="headers by a table that it has not"),
        pytest.param((frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),), id="headers that are cut"),
        pytest.param((first(), message(b"x", PADDED)), id="padded data"),
        pytest.param((first(), message(b"x", END_STREAM)), id="no trailers"),
        pytest.param((first(), message(b"x"), first()), id="headers again"),
        pytest.param((first(), message(b"x"), headers(END_STREAM, grpc_message="x")), id="no status"),
        pytest.param((first(), message(b"x"), last("-1")), id="a status that is none"),
        pytest.param((first(), last()), id="no message"),
        pytest.param((first(), message(b"x"), message(b"y"), last()), id="two messages"),
        pytest.param((first(), frame(DATA, 0, 1, b"\x01\0\0\0\x01x"), last()), id="compressed"),
        pytest.param((first(), *(frame(DATA, 0, 1, bytes(16_000)),) * 5), id="more than there was room for"),
        pytest.param((frame(SETTINGS, 0, 0, b"x"),), id="settings of an odd length"),
        pytest.param((frame(WINDOW_UPDATE, 0, 0, b"x"),), id="a window of an odd length"),
        pytest.param((frame(RST_STREAM, 0, 1, b"x"),), id="a reset of an odd length"),
        pytest.param((frame(PUSH_PROMISE, 0, 1, bytes(4)),), id="a promise"),
        pytest.param((frame(CONTINUATION, 0, 1),), id="a continuation"),
    ],
)
async def test_what_is_not_understood_ends_the_call_and_the_connection(
    tmp_path: Path, parts: tuple[bytes, ...]
) -> None:
    async with serving(tmp_path / "s", answering(*parts)) as channel:
        for _ in range(2):  # another call makes another connection
            with pytest.raises(Unexpected, match="etcd answers in an unexpected way"):
                await channel.call(TXN, b"")


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(frame(RST_STREAM, 0, 1, struct.pack(">L", 8)), id="reset"),
        pytest.param(frame(GOAWAY, 0, 0, bytes(8)), id="going away"),
    ],
)
async def test_a_call_that_is_broken_off_is_unavailable(tmp_path: Path, part: bytes) -> None:
    async with serving(tmp_path / "s", answering(part)) as channel:
        with pytest.raises(Unavailable) as caught:
            await channel.call(TXN, b"")
        assert not isinstance(caught.value, Unexpected)


async def test_a_lost_connection_ends_every_call(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await read_request(reader)

    async with serving(tmp_path / "s", serve) as channel:
        calls = (channel.call(TXN, b""), channel.call(TXN, b""))
        found = await asyncio.gather(*calls, return_exceptions=True)  # noqa: TID251
        assert [type(error) for error in found] == [Unavailable, Unavailable]


async def test_a_call_that_is_cancelled_is_taken_back(tmp_path: Path) -> None:
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        seen.put_nowait(0)
        kind = -1
        while kind != RST_STREAM:
            kind, _, stream, _ = await read_frame(reader)
        seen.put_nowait(stream)
        # Frames for it that were already under way belong to nobody; the next call gets its own.
        writer.write(first() + message(b"late") + last())
        await read_request(reader)
        writer.write(first(3) + message(b"next", stream=3) + last(stream=3))
        await reader.read()

    async with serving(tmp_path / "s", serve) as channel:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(channel.call(TXN, b""))
            await seen.get()
            call.cancel()
        assert await seen.get() == 1
        assert await channel.call(TXN, b"") == b"next"


async def test_a_connection_whose_streams_are_used_up_is_left(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unary, "_LAST_STREAM", 5)
    channel = UnaryChannel(etcd.socket)
    for count in range(1, 8):
        assert pb.TxnResponse.FromString(await channel.call(TXN, put(b"%d" % count, b"v")) or b"").succeeded
    channel.close()


async def test_a_smaller_window_of_the_server_s_is_kept(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 100)))
        await read_request(reader)
        writer.write(first() + message(b"x") + last())
        await reader.read()

    async with serving(tmp_path / "s", serve) as channel:
        assert await channel.call(TXN, b"") == b"x"
        assert await channel.call(TXN, bytes(96)) is None
