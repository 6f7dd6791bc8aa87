"""Messages arrive whole, in whatever pieces they come, and what waits is bounded."""

import asyncio
import sys

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.manager.port.messages import STREAM_WINDOW_BYTES, LimitedBuffer, Room

pytestmark = pytest.mark.looptime


class Wire:
    """A stream whose peer sends as much as its window allows."""

    def __init__(self, limit: int = 1_000_000, room: Room | None = None) -> None:
        self.window = STREAM_WINDOW_BYTES
        self.buffer = LimitedBuffer(self._ack, limit, room or Room())

    def _ack(self, size: int) -> None:
        self.window += size
        assert self.window <= STREAM_WINDOW_BYTES

    def send(self, data: bytes, padding: int = 0) -> None:
        self.window -= len(data) + padding
        assert self.window >= 0
        self.buffer.add(data, len(data) + padding)


async def test_a_message_longer_than_the_window_comes_whole() -> None:
    wire = Wire()
    sent = bytes(range(256)) * 1000
    wire.send(b"\0\0\3\xe8\0")
    assert await wire.buffer.read(5) == b"\0\0\3\xe8\0"
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(wire.buffer.read(len(sent)))
        for start in range(0, len(sent), 50_000):
            await asyncio.sleep(0)
            wire.send(sent[start : start + 50_000])
    assert reading.result() == sent
    assert wire.window == STREAM_WINDOW_BYTES


async def test_what_nobody_reads_holds_the_window() -> None:
    wire = Wire()
    wire.send(b"\0\0\0\0\1x" * 10_000)
    assert await wire.buffer.read(5) == b"\0\0\0\0\1"
    assert await wire.buffer.read(1) == b"x"
    assert wire.window == STREAM_WINDOW_BYTES - 6 * 9_999
    assert wire.buffer.unacked_size() == 6 * 9_999
    assert wire.buffer.unacked_size() == 0


async def test_padding_is_given_back() -> None:
    wire = Wire()
    wire.send(b"", 256)
    wire.send(b"\0\0\0\0\0", 255)
    assert await wire.buffer.read(5) == b"\0\0\0\0\0"
    assert wire.window == STREAM_WINDOW_BYTES


async def test_pieces_of_a_byte_cost_no_more_than_one_piece() -> None:
    wire = Wire()
    for _ in range(60_000):
        wire.send(b"x")
    assert sys.getsizeof(wire.buffer._data) < 100_000


@pytest.mark.parametrize(("data", "prefix", "body"), [(b"", b"", None), (b"\0\0", None, None)])
async def test_the_end_of_a_stream(data: bytes, prefix: bytes | None, body: bytes | None) -> None:
    wire = Wire()
    wire.send(data)
    wire.buffer.eof()
    if prefix is not None:
        assert await wire.buffer.read(5) == prefix
        return
    with pytest.raises(GRPCError) as caught:
        await wire.buffer.read(5)
    assert (caught.value.status, caught.value.message) == (Status.INTERNAL, "unexpected EOF")


async def test_a_message_of_nothing_and_one_without_its_body() -> None:
    wire = Wire()
    wire.send(b"\0\0\0\0\0" + b"\0\0\0\0\1")
    wire.buffer.eof()
    assert [await wire.buffer.read(5), await wire.buffer.read(0), await wire.buffer.read(5)] == [
        b"\0\0\0\0\0",
        b"",
        b"\0\0\0\0\1",
    ]
    with pytest.raises(GRPCError, match="unexpected EOF"):
        await wire.buffer.read(1)


async def test_what_is_too_large_or_compressed_is_refused() -> None:
    wire = Wire(limit=100)
    wire.send(b"\0\0\0\0\xff" + b"\1")
    await wire.buffer.read(5)
    with pytest.raises(GRPCError, match="larger than max"):
        await wire.buffer.read(255)
    wire = Wire()
    wire.send(b"\1\0\0\0\0")
    with pytest.raises(GRPCError, match="compressed"):
        await wire.buffer.read(5)


async def test_large_messages_wait_for_room_and_small_ones_do_not() -> None:
    room = Room(250_000)
    wires = [Wire(room=room) for _ in range(3)]
    for wire in wires:
        wire.send(b"\0\0\3\x0d\x40")
        await wire.buffer.read(5)
    small = Wire(room=room)
    small.send(b"\0\0\0\0\1x")
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(wire.buffer.read(200_000)) for wire in wires]
        await asyncio.sleep(0)
        assert [wire.window for wire in wires] == [STREAM_WINDOW_BYTES] * 3
        for wire in wires:
            wire.send(b"x" * STREAM_WINDOW_BYTES)
        await asyncio.sleep(1)
        assert [wire.window for wire in wires] == [STREAM_WINDOW_BYTES, 0, 0]  # the others hold as much as they may
        await small.buffer.read(5)
        assert await small.buffer.read(1) == b"x"
        reading[0].cancel()  # and a call that gives up makes room
        await asyncio.sleep(1)
        assert [wire.window for wire in wires[1:]] == [STREAM_WINDOW_BYTES, 0]
        reading[1].cancel()
        reading[2].cancel()
