"""Connections that stop being HTTP: after the head of an answer, raw bytes both ways, as `exec` and `attach` need.

The transport is taken from aiohttp, because aiohttp closes a connection whose client has finished sending, and a client
that has sent all its input (`echo x | docker exec -i ...`) still waits for output. Source of the two answers: moby
daemon/server/router/container/exec.go.
"""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web

from shoal.engine.requests import Call

# Input that the process has not taken yet; above it the client is held back.
HIGH_WATER_BYTES = 256 * 1024


class RawConnection(asyncio.Protocol):
    """A taken connection. `read` gives what the client sends, empty at its end; `write` waits while it is slow."""

    def __init__(self, call: Call, media_type: str) -> None:
        transport = call.http.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._http = call.http.protocol
        self._media_type = media_type
        self._upgraded = call.header("Upgrade") != ""
        self._input = bytearray()
        self._ended = False
        self.lost = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def __aenter__(self) -> Self:
        # What arrived behind the request is with aiohttp already: it is fed to us here.
        self._http.set_parser(self)
        self._transport.set_protocol(self)
        status = "101 UPGRADED" if self._upgraded else "200 OK"
        upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if self._upgraded else ""
        self._transport.write(f"HTTP/1.1 {status}\r\nContent-Type: {self._media_type}\r\n{upgrade}\r\n".encode())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # aiohttp must see its connection end, or it would count it as open for ever.
        if not self.lost:
            self._transport.set_protocol(self._http)
            self._transport.close()

    async def read(self) -> bytes:
        """Return what the client sent since the last call; empty when it sends no more."""
        while not self._input and not self._ended:
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._input)
        self._input.clear()
        self._resume()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionResetError when the client is gone."""
        await self._writable.wait()
        if self.lost or self._transport.is_closing():
            raise ConnectionResetError("the client went away")
        self._transport.write(data)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """For aiohttp: what came behind the request."""
        self.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        """For aiohttp: the client had finished already."""
        self.eof_received()

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > HIGH_WATER_BYTES:
            self._transport.pause_reading()
        self._readable.set()

    def _resume(self) -> None:
        if not (self._ended or self._transport.is_closing()):
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._readable.set()
        return True  # keep our side open: output still comes

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = self._ended = True
        self._readable.set()
        self._writable.set()
        self._http.connection_lost(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()


def after_hijack() -> web.StreamResponse:
    """Return what a handler gives aiohttp once the connection was taken: it goes nowhere, the transport is closed."""
    return web.Response()
