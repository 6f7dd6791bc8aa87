"""Receives the messages of a call, with limits, from a peer that may send anything.

In: pieces of one stream as HTTP/2 delivers them. Out: the bytes that grpclib asks for, and permission for the peer to
send more. HTTP/2's windows limit the bytes that wait, and `Room` the bytes of unfinished messages.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Buffer

# The unread bytes that a stream may have. A message up to this size does not need `Room`.
STREAM_WINDOW_BYTES = 65_535
# The memory for larger messages of one connection while they arrive: two of the largest ones. Others wait.
ROOM_BYTES = 8 * 1024 * 1024


class Room:
    """The memory that unfinished messages of one connection may use together."""

    def __init__(self, free_bytes: int = ROOM_BYTES) -> None:
        self._free = free_bytes
        self._more = asyncio.Event()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, and hold them while the context is open."""
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
    """The bytes that a call has received. grpclib reads the prefix of a message and its body in turns."""

    def __init__(self, ack: Callable[[int], None], max_message_bytes: int, room: Room) -> None:
        super().__init__(ack)
        self._ack = ack
        self._max = max_message_bytes
        self._room = room
        self._prefix_next = True
        self._data = bytearray()
        self._owed = 0  # bytes that arrived and were not given back to the windows
        self._arrived = asyncio.Event()

    def add(self, data: bytes, ack_size: int) -> None:
        """Add a piece of the stream. All pieces share one array, because an object for each byte would be costly."""
        self._data += data
        self._owed += ack_size
        self._arrived.set()

    def eof(self) -> None:
        """Note that the stream has ended."""
        self._eof = True
        self._arrived.set()

    async def read(self, size: int) -> bytes:
        """Return `size` bytes, or none at the end. Raises GRPCError for a message that is too large or incomplete."""
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
        """Return how many bytes to give back to the windows at the end of the call."""
        owed, self._owed = self._owed, 0
        self._data.clear()
        return owed
