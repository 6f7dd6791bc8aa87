"""What a peer says first: which protocols it offers, before anybody has shaken its hand. Pure.

In: the first bytes of a connection, of anybody's, as they lie in the socket. Out: the names of ALPN. Nothing is taken
for true by them but who shall answer: that one shakes hands and verifies. What is incomplete, spread over records or
larger than any hello of ours offers nothing here.
"""

from collections.abc import Sequence

MAX_HELLO_BYTES = 4096  # ours are 300 to 600 long; more is not looked at

# RFC 8446, 4 and 5.1; RFC 7301, 3.
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_VERSION_AND_RANDOM = 2 + 32
_ALPN = 16


class _Bytes:
    """Bytes to be taken from the front; ValueError where there are too few."""

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
        """Take what has its length, a number of `size` bytes, before it."""
        return _Bytes(self.take(self.number(size)))


def offered_protocols(data: bytes) -> Sequence[bytes]:
    """Return the protocols that a ClientHello offers, in its order; none where this is no whole hello."""
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
