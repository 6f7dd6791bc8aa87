"""Turns an HTTP connection into a raw one: after the head of the answer, bytes go both ways, for `exec` and `attach`.

The transport is taken from aiohttp, because aiohttp closes a connection whose client has finished sending. But a client
that has sent all its input (`echo x | docker exec -i ...`) still waits for output. A client must wait for the head
before it sends input, as HTTP asks and Docker's clients do: what comes earlier is lost in aiohttp's parser, unless its
version keeps it. Source of the two heads: moby daemon/server/router/container/{exec,container_routes}.go.
"""

import asyncio
import select
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from aiohttp import web

from shoal.engine.requests import Call
from shoal.engine.streams import MULTIPLEXED_TYPE, RAW_TYPE, end_with_daemon

# Unread input of the process; with more, the client must wait.
HIGH_WATER_BYTES = 256 * 1024
# Seconds that a client may take to close its side after the last byte. If we closed at once while its input is still on
# the way, it would see a broken connection instead of the end of the output.
LINGER = 2.0


class RawConnection(asyncio.Protocol):
    """A connection taken from aiohttp. `read` returns what the client sends; `write` waits while the client is slow.

    When the client goes away the handler is not cancelled, so that it can clean up: `lost` is set, `read` ends and
    `write` raises.
    """

    def __init__(self, call: Call, *, multiplexed: bool) -> None:
        """`multiplexed`: the output comes in frames. Clients before 1.42 only know the media type for raw output."""
        transport = call.http.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        self._transport = transport
        self._http = call.http.protocol
        self._upgraded = "Upgrade" in call.http.headers
        framed = self._upgraded and multiplexed and call.api >= 42
        self._media_type = MULTIPLEXED_TYPE if framed else RAW_TYPE
        self._call = call
        self._input = bytearray()
        self._ended = False
        self.lost = False
        self._lost_by: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._hangup: select.epoll | None = None

    async def __aenter__(self) -> Self:
        end_with_daemon(self._call)
        tls = self._transport.get_extra_info("ssl_object")
        if isinstance(tls, HalfClosing):
            tls.on_end = self._end_of_tls_input
        # aiohttp already has the bytes that arrived after the request. A version that keeps them passes them on here.
        self._http.set_parser(cast(Any, self))
        self._transport.set_protocol(self)
        status = "101 UPGRADED" if self._upgraded else "200 OK"
        upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if self._upgraded else ""
        self._transport.write(f"HTTP/1.1 {status}\r\nContent-Type: {self._media_type}\r\n{upgrade}\r\n".encode())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._linger()
        finally:
            self._stop_watching()
            # aiohttp must see its connection end; otherwise it would count it as open for ever.
            if self.lost:
                self._http.connection_lost(self._lost_by)
            else:
                self._transport.set_protocol(self._http)
                self._transport.close()

    async def _linger(self) -> None:
        """Tell the client that the output has ended, and read until the client has closed too."""
        if self.lost or not self._transport.can_write_eof():
            return
        self._transport.write_eof()
        try:
            async with asyncio.timeout(LINGER):
                while await self.read():
                    pass
        except TimeoutError:
            pass  # the client did not close in time

    async def read(self) -> bytes:
        """Wait for input and return all that the client sent since the last call. Empty at the end of its input."""
        while not self._input and not self._ended:
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._input)
        self._input.clear()
        if not (self._ended or self._transport.is_closing()):
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionResetError if the client is gone."""
        await self._writable.wait()
        if self.lost or self._transport.is_closing():
            raise ConnectionResetError("the client went away")
        self._transport.write(data)

    async def wait_lost(self) -> None:
        """Wait until the client is gone, even if it has ended its input before."""
        await self._gone.wait()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """For aiohttp: take bytes that came after the request, if aiohttp kept them."""
        self.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        """For aiohttp, at the end of its connection. There is nothing to do."""

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > HIGH_WATER_BYTES:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        self._end_input()
        if self._hangup is None and not self.lost:
            self._watch_for_hangup()
        # Keep our side open: output still comes. With TLS this is the end of the connection below it.
        return self._transport.get_extra_info("ssl_object") is None

    def _end_input(self) -> None:
        self._ended = True
        self._readable.set()

    def _end_of_tls_input(self) -> None:
        # This is called while TLS is reading, so it must not call into the transport.
        asyncio.get_running_loop().call_soon(self._end_input)

    def _watch_for_hangup(self) -> None:
        """Watch for the client's end after the end of its input, when nothing is read any more.

        An epoll that asks for no events still reports hang-ups, as in moby's notifyClosed.
        """
        sock = self._transport.get_extra_info("socket")
        if sock is None or self._transport.get_extra_info("ssl_object") is not None:
            return
        self._hangup = select.epoll()
        self._hangup.register(sock.fileno(), 0)
        asyncio.get_running_loop().add_reader(self._hangup.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        self._stop_watching()
        self._transport.abort()

    def _stop_watching(self) -> None:
        if self._hangup is not None:
            asyncio.get_running_loop().remove_reader(self._hangup.fileno())
            self._hangup.close()
            self._hangup = None

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._lost_by = error
        self._stop_watching()
        self._end_input()
        self._writable.set()
        self._gone.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()


class HalfClosing(ssl.SSLObject):
    """TLS whose client may end its input (Go's CloseWrite) and still get output. asyncio would close the connection.

    For `SSLContext.sslobject_class` of a listener. Without `on_end` it behaves like its base class.
    """

    on_end: Callable[[], None] | None = None

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - as in the class above
        """Read. At the end of the client's input, call `on_end` if it is set, and pretend that more may come."""
        data = super().read(len, buffer)
        if data or self.on_end is None:
            return data
        self.on_end()
        raise ssl.SSLWantReadError("the client sends no more")


def after_hijack() -> web.StreamResponse:
    """Return the response that a handler gives aiohttp after it took the connection. Nobody gets it."""
    return web.Response()
