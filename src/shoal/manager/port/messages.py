"""What a call receives: messages of a bounded size, from a peer that may send anything.

In: pieces of one stream as HTTP/2 delivers them. Out: what grpclib asks for, and leave for the peer to send more. What
waits is bounded by the windows of HTTP/2, however small its pieces are; what is being put together by `Room`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Buffer

# What a peer may send ahead on one stream. A message up to this size needs no room of its own.
STREAM_WINDOW_BYTES = 65_535
# What the larger messages of one connection may fill while they arrive: two of the largest. Others wait.
ROOM_BYTES = 8 * 1024 * 1024


class Room:
    """Bytes that the unfinished messages of one connection may take up."""

    def __init__(self, free_bytes: int = ROOM_BYTES) -> None:
        self._free = free_bytes
        self._more = asyncio.Event()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until so many bytes are free, and hold them."""
        while self._free < size:
            self._more.clear()
            await self._more.wait()
        self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._more.set()


class LimitedBuffer(Buffer):
    """What a call has received. Reads alternate between a message's prefix and its body, as grpclib makes them."""

    def __init__(self, ack: Callable[[int], None], max_message_bytes: int, room: Room) -> None:
        super().__init__(ack)
        self._ack = ack
        self._max = max_message_bytes
        self._room = room
        self._prefix_next = True
        self._data = bytearray()
        self._owed = 0  # of the windows: what came and was not given back
        self._arrived = asyncio.Event()

    def add(self, data: bytes, ack_size: int) -> None:
        """Take a piece of the stream. One array holds all: pieces of a byte must not cost an object each."""
        self._data += data
        self._owed += ack_size
        self._arrived.set()

    def eof(self) -> None:
        """Take note that no more comes."""
        self._eof = True
        self._arrived.set()

    async def read(self, size: int) -> bytes:
        """Return so many bytes, or none at the end. Raises GRPCError for what must not be read."""
        prefix, self._prefix_next = self._prefix_next, not self._prefix_next
        if not prefix and size > self._max:
            text = f"grpc: received message larger than max ({size} vs. {self._max})"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)
        if size > STREAM_WINDOW_BYTES:
            async with self._room.hold(size):
                data = await self._take(size)
        else:
            data = await self._take(size)
        if len(data) < size and (data or not prefix):
            raise GRPCError(Status.INTERNAL, "unexpected EOF")
        if prefix and data[:1] not in (b"", b"\0"):
            raise GRPCError(Status.UNIMPLEMENTED, "grpc: compressed messages are not understood here")
        return data

    async def _take(self, size: int) -> bytes:
        while len(self._data) < size and not self._eof:
            self._give_back(self._owed)  # a message may be longer than the window
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._data[:size])
        del self._data[:size]
        self._give_back(self._owed - len(self._data))
        return data

    def _give_back(self, size: int) -> None:
        if size > 0:
            self._owed -= size
            self._ack(size)

    def unacked_size(self) -> int:
        """Return what of the windows is to be given back at the end of the call."""
        owed, self._owed = self._owed, 0
        self._data.clear()
        return owed
