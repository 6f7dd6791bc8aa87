"""gRPC calls with one short message each way over one HTTP/2 connection to a unix socket, for etcd's transactions.

In: a method's headers and a request's bytes. Out: the reply's bytes, or the error that grpclib would raise. Every
request is one write of two frames, with headers that were made beforehand. Anything more (long requests, streams, TLS)
needs grpclib. Why: docs/decisions/0024-short-calls.md. An answer that breaks RFC 9113 or gRPC ends the connection.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from shoal.errors import Unavailable


class _Type:
    """Types of frames: RFC 9113, section 6."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


# Flags, settings, errors and limits: also from RFC 9113.
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 1, 2, 4
_CANCEL = 8
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW_BYTES = 65_535  # of each stream and of the connection, until a SETTINGS or WINDOW_UPDATE frame
_MAX_FRAME_BYTES = 16_384
_LAST_STREAM = _STREAM_BITS = 2**31 - 1
_PREFIX_BYTES = 5  # gRPC's prefix of a message: whether it is compressed, and its length
MAX_REQUEST_BYTES = _MAX_FRAME_BYTES - _PREFIX_BYTES

_HEAD = struct.Struct(">HBBBL")  # length in three bytes, type, flags, stream
_PREFIX = struct.Struct(">BL")
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")


class Unexpected(Unavailable):
    """The server speaks HTTP/2 or gRPC in a way that is not understood here."""


def request_headers(path: str) -> bytes:
    """Return the encoded headers for calls of a method; the same bytes are sent each time."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "shoal",
    }
    # Marked as sensitive, so that the server puts none into its table and the same bytes always mean the same.
    return bytes(Encoder().encode([(name, value, True) for name, value in headers.items()], huffman=True))


@lru_cache(maxsize=64)
def _decoded(block: bytes) -> dict[str, str]:
    """Return the headers of a block. No state is needed, because the server may use no table. Raises Unexpected."""
    decoder = Decoder(max_header_list_size=_MAX_FRAME_BYTES)
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        return {str(name): str(value) for name, value in decoder.decode(block)}
    except (HPACKError, UnicodeDecodeError) as error:
        raise Unexpected(f"its headers cannot be read: {error}") from error


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


@dataclass(slots=True)
class _Call:
    done: asyncio.Future[bytes]
    answer: bytes = b""
    headers: dict[str, str] | None = None


class _Connection(asyncio.Protocol):
    """One connection, until it is lost."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest = b""
        self._calls: dict[int, _Call] = {}
        self._stream = -1
        self._window = self._stream_window = _WINDOW_BYTES
        self._taken = 0  # received bytes that are not acknowledged yet by WINDOW_UPDATE
        self.is_open = False
        """Whether it takes another call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one of asyncio's classes
        self.is_open = True
        settings = _SETTING.pack(_HEADER_TABLE_SIZE, 0) + _SETTING.pack(_ENABLE_PUSH, 0)
        self._transport.write(_PREFACE + _frame(_Type.SETTINGS, 0, 0, settings))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Unavailable(f"etcd cannot be reached: {error or 'connection lost'}"))

    def has_room(self, size: int) -> bool:
        """Return whether a request of this size can be sent at once."""
        return size + _PREFIX_BYTES <= min(self._window, self._stream_window, _MAX_FRAME_BYTES)

    async def call(self, headers: bytes, request: bytes) -> bytes:
        """Send a request for which there is room (`has_room`), and return the reply. Raises GRPCError, Unavailable."""
        self._stream += 2
        stream = self._stream
        self.is_open = stream + 2 <= _LAST_STREAM
        data = _PREFIX.pack(0, len(request)) + request
        self._window -= len(data)
        call = self._calls[stream] = _Call(asyncio.get_running_loop().create_future())
        self._transport.write(
            _frame(_Type.HEADERS, _END_HEADERS, stream, headers) + _frame(_Type.DATA, _END_STREAM, stream, data)
        )
        try:
            return await call.done
        finally:
            if self._calls.pop(stream, None) is not None and not self._transport.is_closing():
                self._transport.write(_frame(_Type.RST_STREAM, 0, stream, _NUMBER.pack(_CANCEL)))
            if not self.is_open and not self._calls:
                self._transport.close()  # its streams are used up

    def close(self) -> None:
        """Close the connection. Waiting calls raise Unavailable."""
        self._end(Unavailable("etcd cannot be reached: the connection was closed"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at, end = 0, len(data)
        try:
            while end - at >= _HEAD.size and not self._transport.is_closing():
                high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
                size = high << 8 | low
                if size > _MAX_FRAME_BYTES:
                    raise Unexpected(f"a frame of {size} bytes")
                if end - at < _HEAD.size + size:
                    break
                at += _HEAD.size + size
                self._handle(kind, flags, stream & _STREAM_BITS, data[at - size : at])
        except Unexpected as error:
            self._end(Unexpected(f"etcd answers in an unexpected way: {error}"))
        self._rest = data[at:]

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case _Type.HEADERS:
                self._handle_headers(flags, self._calls.get(stream), stream, payload)
            case _Type.DATA:
                self._handle_data(flags, self._calls.get(stream), payload)
            case _Type.SETTINGS if not flags & _ACK:
                self._handle_settings(payload)
            case _Type.WINDOW_UPDATE if stream == 0:
                self._window += _number(payload)
            case _Type.PING if not flags & _ACK:
                self._transport.write(_frame(_Type.PING, _ACK, 0, payload))
            case _Type.RST_STREAM:
                error = Unavailable(f"etcd broke off a call: HTTP/2 error {_number(payload)}")
                if (call := self._calls.pop(stream, None)) and not call.done.done():
                    call.done.set_exception(error)
            case _Type.GOAWAY:
                self._end(Unavailable("etcd cannot be reached: it ends the connection"))
            case _Type.PUSH_PROMISE | _Type.CONTINUATION:
                raise Unexpected(f"a frame of type {kind}")
            case _:
                pass  # acknowledgements from the server, and frames that RFC 9113 allows to ignore

    def _handle_headers(self, flags: int, call: _Call | None, stream: int, block: bytes) -> None:
        if flags & (_PADDED | _PRIORITIZED) or not flags & _END_HEADERS:
            raise Unexpected("headers in several parts")
        headers = _decoded(block)
        if call is None:
            return
        first = call.headers is None
        call.headers = (call.headers or {}) | headers
        if flags & _END_STREAM:
            if not call.done.done():
                _finish(call)
            del self._calls[stream]  # only now, because `_end` fails all calls in here if `_finish` raises
        elif not first:
            raise Unexpected("headers without end")

    def _handle_data(self, flags: int, call: _Call | None, payload: bytes) -> None:
        if flags & (_PADDED | _END_STREAM):
            raise Unexpected("data that are padded, or without trailers")
        self._taken += len(payload)
        if self._taken > _WINDOW_BYTES // 2:
            self._transport.write(_frame(_Type.WINDOW_UPDATE, 0, 0, _NUMBER.pack(self._taken)))
            self._taken = 0
        if call is not None:
            call.answer += payload
            if len(call.answer) > _WINDOW_BYTES:
                raise Unexpected("a longer reply than it was given room for")

    def _handle_settings(self, payload: bytes) -> None:
        if len(payload) % _SETTING.size:
            raise Unexpected("settings of an odd length")
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window = value
        self._transport.write(_frame(_Type.SETTINGS, _ACK, 0))

    def _end(self, error: Unavailable) -> None:
        self.is_open = False
        self._transport.close()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.done.done():
                call.done.set_exception(error)


def _number(payload: bytes) -> int:
    if len(payload) != _NUMBER.size:
        raise Unexpected("a frame of a wrong length")
    return int(_NUMBER.unpack(payload)[0])


def _finish(call: _Call) -> None:
    headers, answer = call.headers or {}, call.answer
    status = headers.get("grpc-status", "")
    if headers.get(":status") != "200" or not status.isdecimal():
        raise Unexpected(f"status {headers.get(':status')!r}, grpc-status {status!r}")
    if status != "0":
        call.done.set_exception(GRPCError(_status(status), unquote(headers.get("grpc-message", ""))))
        return
    if len(answer) < _PREFIX_BYTES or _PREFIX.unpack_from(answer) != (0, len(answer) - _PREFIX_BYTES):
        raise Unexpected("a reply that is not one message")
    call.done.set_result(answer[_PREFIX_BYTES:])


def _status(text: str) -> Status:
    try:
        return Status(int(text))
    except ValueError:
        return Status.UNKNOWN


class UnaryChannel:
    """A connection that is made by the first call, and made again by the next call if it was lost."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None

    async def call(self, headers: bytes, request: bytes) -> bytes | None:
        """Return the reply to a call, or None if it was not sent because it is too long to be sent at once.

        Raises GRPCError, Unavailable, Unexpected, OSError.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connected()
            if not connection.is_open:  # etcd may have ended just now
                raise Unavailable("etcd cannot be reached: connection lost")
        if not connection.has_room(len(request)):
            return None
        return await connection.call(headers, request)

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_unix_connection(_Connection, self._socket)
            return self._connection

    def close(self) -> None:
        """Close the connection, if there is one. Another call makes a new one."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
