"""Divides the bytes of a connection into HTTP/2 frames, by their headers alone. Pure.

In: bytes as they arrive. Out: whole frames, one at a time, so that each can be counted before a library acts on it.
Bytes that are not HTTP/2 are passed on as they are; their reader reports the error. Source of the numbers: RFC 9113.
"""

from dataclasses import dataclass
from enum import IntEnum

PREFACE_BYTES = 24
HEADER_BYTES = 9
MAX_FRAME_BYTES = 16_384  # the limit that HTTP/2 sets while no other one is agreed
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8  # flags


class Kind(IntEnum):
    """The kinds of frames. HTTP/2 tells receivers to ignore frames of other kinds."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `data` includes its header. `kind` is None for the preface and for bytes that break the protocol."""

    data: bytes
    kind: int | None = None
    flags: int = 0

    @property
    def size_bytes(self) -> int:
        """The length of the frame without its header."""
        return len(self.data) - HEADER_BYTES

    @property
    def is_empty(self) -> bool:
        """Whether this is a DATA frame without data (padding does not count) that does not end its stream."""
        if self.kind != Kind.DATA or self.flags & END_STREAM:
            return False
        if not self.flags & PADDED or self.size_bytes == 0:
            return self.size_bytes == 0
        return self.size_bytes - 1 <= self.data[HEADER_BYTES]


class Frames:
    """The bytes that a peer has sent and that nobody has read yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._preface_left = PREFACE_BYTES

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._data += data

    def next(self) -> Frame | None:
        """Return the next frame, or None while it is not complete."""
        if not self._data:
            return None
        if self._preface_left:
            frame = self._cut(min(self._preface_left, len(self._data)))
            self._preface_left -= len(frame.data)
            return frame
        if len(self._data) < HEADER_BYTES:
            return None
        size = int.from_bytes(self._data[:3], "big")
        if size > MAX_FRAME_BYTES:
            return self._cut(len(self._data))
        if len(self._data) < HEADER_BYTES + size:
            return None
        return self._cut(HEADER_BYTES + size, self._data[3], self._data[4])

    def clear(self) -> None:
        """Forget everything."""
        self._data.clear()

    def _cut(self, size: int, kind: int | None = None, flags: int = 0) -> Frame:
        frame = Frame(bytes(self._data[:size]), kind, flags)
        del self._data[:size]
        return frame
