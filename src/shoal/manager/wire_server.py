"""grpclib's HTTP/2 connection with limits, for peers that may be anyone.

grpclib trusts its peers: it reads a message of any length and lets an unknown frame or header end in a traceback.
Here both end the call or the connection. In: bytes of one connection. Out: calls.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Buffer, EventsProcessor, H2Protocol
from grpclib.protocol import Stream as WireStream
from grpclib.server import Handler, Server
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import H2Error

from shoal.manager.crowd import origin

log = logging.getLogger(__name__)

# gRPC's own default, which Swarm's managers have too (grpc-go defaultServerMaxReceiveMessageSize).
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# What a peer may send ahead on one stream, and on all of its connection. A stream that nobody reads (logs of a slow
# subscriber) must not hold up the heartbeats beside it: 100 streams, as many as HTTP/2 lets a peer open, fit in.
STREAM_WINDOW_BYTES = 65_535
CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
# What waits for a peer that does not read: answers to pings, mostly. Messages wait outside of it.
MAX_UNSENT_BYTES = 1024 * 1024

CONFIGURATION = Configuration(
    http2_connection_window_size=CONNECTION_WINDOW_BYTES, http2_stream_window_size=STREAM_WINDOW_BYTES
)


class LimitedBuffer(Buffer):
    """What a call has received. Reads alternate between a message's prefix and its body, as grpclib makes them."""

    def __init__(self, ack: Callable[[int], None], max_message_bytes: int) -> None:
        super().__init__(ack)
        self._max = max_message_bytes
        self._prefix_next = True

    async def read(self, size: int) -> bytes:
        """Return so many bytes, or none at the end. Raises GRPCError for what must not be read."""
        prefix, self._prefix_next = self._prefix_next, not self._prefix_next
        if not prefix and size > self._max:
            text = f"grpc: received message larger than max ({size} vs. {self._max})"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)
        try:
            data = await super().read(size)
        except AssertionError as fault:
            raise GRPCError(Status.INTERNAL, "unexpected EOF") from fault
        if prefix and data[:1] not in (b"", b"\0"):
            raise GRPCError(Status.UNIMPLEMENTED, "grpc: compressed messages are not understood here")
        return data


class LimitedHandler(Handler):
    """Starts the calls of one connection."""

    max_message_bytes = MAX_MESSAGE_BYTES

    def accept(self, stream: WireStream, headers: Any, release_stream: Callable[[], Any]) -> None:
        """Answer one request; a request without the headers that HTTP/2 demands is reset."""
        names = {name for name, _ in headers}
        if not {":method", ":path"} <= names:
            release_stream()
            stream.reset_nowait(ErrorCodes.PROTOCOL_ERROR)
            return
        stream.buffer = LimitedBuffer(stream.buffer._ack_callback, self.max_message_bytes)
        super().accept(stream, headers, release_stream)

    def cancel(self, stream: WireStream) -> None:
        """End a call that the peer gave up; it may have ended by itself just before."""
        if stream in self._tasks:
            super().cancel(stream)


class _Processor(EventsProcessor):
    def process(self, event: Event) -> None:
        """Act on an event of HTTP/2; what HTTP/2 says to ignore (frames of unknown kinds) is ignored."""
        if type(event) in getattr(self, "processors", ()):
            super().process(event)


class Connection(H2Protocol):
    """One connection of a peer. `opened` and `closed` are called once each."""

    def __init__(
        self, base: Server, opened: "Callable[[Connection], None]", closed: "Callable[[Connection], None]"
    ) -> None:
        self.calls = LimitedHandler(base._mapping, base._codec, base._status_details_codec, base.__dispatch__)
        super().__init__(self.calls, base._config, base._h2_config)
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._opened_at = time.monotonic()
        self.is_stranger = True  # showed no certificate
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2."""
        wire = cast(asyncio.Transport, transport)
        self._transport = wire
        self.is_stranger = not wire.get_extra_info("peercert")
        self.host = origin(str((wire.get_extra_info("peername") or ("",))[0]))
        super().connection_made(wire)
        self.processor = _Processor(self.calls, self.connection)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from a peer that may send anything. Whatever they break, it is this connection alone."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            super().data_received(data)
        except Exception:
            # A node's own program does not do this: then the mistake is ours.
            level = logging.DEBUG if self.is_stranger else logging.WARNING
            log.log(level, "a peer at %s broke the protocol", self.host, exc_info=True)
            self.processor.close("Protocol error")
        if not self.connection.write_ready.is_set() and self._unsent() > MAX_UNSENT_BYTES:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget everything about the peer; its calls are cancelled."""
        if self._transport is None:
            return
        self._transport = None
        super().connection_lost(exc)
        self._closed(self)

    def idle_for(self, now: float) -> float:
        """Return for how many seconds no call was made; 0 while one is being answered. `now` is monotonic."""
        if not self.calls.check_closed():
            return 0.0
        return now - max(self._opened_at, self.connection.last_stream_created or 0.0)

    def abort(self) -> None:
        """Drop the connection without another word. `connection_lost` follows."""
        # asyncio's TLS transport (3.11) cannot be aborted once it is closing; its own timeout ends it.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    def close(self) -> None:
        """Say that there will be no more, and close."""
        if self._transport is None:
            return
        with suppress(H2Error):  # a connection that broke the protocol cannot say goodbye either
            self.connection._connection.close_connection()
            self.connection.flush()
        self.processor.close("the manager is stopping")

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0


def new_server(services: Collection[Any]) -> Server:
    """Return grpclib's server for these services. It never listens: `Connection` takes its parts."""
    return Server(services, config=CONFIGURATION)
