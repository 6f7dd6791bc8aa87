"""Reads which protocols a peer offers in its first TLS message, before the handshake. Pure.

In: the first bytes of a connection, as they lie in the socket; they may be anything. Out: the names of ALPN. They only
decide who answers the connection, and that part does the handshake and verifies the peer. A message that is incomplete,
spread over several records or larger than MAX_HELLO_BYTES counts as offering nothing.
"""

from collections.abc import Sequence

MAX_HELLO_BYTES = 4096  # those of Shoal's managers have 300 to 600 bytes

# RFC 8446, 4 and 5.1; RFC 7301, 3.
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_VERSION_AND_RANDOM = 2 + 32
_ALPN = 16


class _Bytes:
    """Takes bytes from the front. Raises ValueError if there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > len(self):
            raise ValueError("the bytes end too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        return self.take(len(self))

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> "_Bytes":
        """Take a length, which is a number of `size` bytes, and then so many bytes."""
        return _Bytes(self.take(self.number(size)))


def offered_protocols(data: bytes) -> Sequence[bytes]:
    """Return the protocols that a ClientHello offers, in its order; empty if `data` is no complete ClientHello."""
    try:
        return _offered(_Bytes(data[:MAX_HELLO_BYTES]))
    except ValueError:
        return ()


def _offered(record: _Bytes) -> Sequence[bytes]:
    if record.number(1) != _HANDSHAKE:
        return ()
    record.take(2)
    message = record.vector(2)
    if message.number(1) != _CLIENT_HELLO:
        return ()
    hello = message.vector(3)
    hello.take(_VERSION_AND_RANDOM)
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    extensions = hello.vector(2)
    while len(extensions):
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == _ALPN:
            names = body.vector(2)
            found = []
            while len(names):
                found.append(names.vector(1).rest())
            return found
    return ()
