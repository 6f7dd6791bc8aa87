"""Joins everything that a connection sends in one turn of the event loop into one TLS record.

In: frames as HTTP/2 makes them. Out: the same bytes, in the same order, on the connection's transport. An answer has at
least three frames (headers, message, trailers, window update); otherwise each would be a TLS record.
"""

import asyncio
from typing import Any

# More waiting bytes are written at once, because only the transport can make a sender wait.
MANY_BYTES = 64 * 1024


class Outgoing:
    """A transport whose `write` waits for the end of the turn. Everything else goes to the real transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._is_scheduled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data, at the latest in the next turn of the loop."""
        self._waiting += data
        if len(self._waiting) >= MANY_BYTES:
            self.flush()
        elif self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turned)

    def flush(self) -> None:
        """Send the waiting data now."""
        if not self._waiting:
            return
        data, self._waiting = bytes(self._waiting), bytearray()
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Send the waiting data, and close."""
        self.flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not been sent."""
        return len(self._waiting) + self._transport.get_write_buffer_size()

    def _turned(self) -> None:
        self._is_scheduled = False
        self.flush()
