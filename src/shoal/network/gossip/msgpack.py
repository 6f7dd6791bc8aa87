"""msgpack as memberlist writes it: the old specification, in which strings and bytes are one kind, "raw".

Pure. Libraries of today write str8 and bin, which old decoders refuse. Reading is total: InvalidArgument for whatever
is no such value, too deep, too long or cut off. Source: gossip.md 1.7.
"""

import struct
from collections.abc import Mapping

from shoal.errors import InvalidArgument

Value = None | bool | int | float | bytes | list["Value"] | dict[str, "Value"]
Field = None | bool | int | bytes

MAX_DEPTH = 4  # messages are one map deep; what a later version adds may be somewhat deeper
MAX_ITEMS = 64  # of one map or list: the longest known message has nine fields

_BIG_ENDIAN = {1: ">B", 2: ">H", 4: ">I", 8: ">Q"}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FLOATS = {0xCA: ">f", 0xCB: ">d"}
_RAW = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_CONSTANTS: dict[int, Value] = {0xC0: None, 0xC2: False, 0xC3: True}


def pack_map(fields: Mapping[str, Field]) -> bytes:
    """Return a map with these fields, sorted by name as Go sorts them. At most 15 fields; numbers are not negative."""
    parts = [bytes((0x80 | len(fields),))]
    for name in sorted(fields):
        parts += (_pack_raw(name.encode()), _pack(fields[name]))
    return b"".join(parts)


def _pack(value: Field) -> bytes:
    if value is None:
        return b"\xc0"
    if isinstance(value, bytes):
        return _pack_raw(value)
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if value < 0x80:
        return bytes((value,))
    for kind, size in _UNSIGNED.items():
        if value < 1 << 8 * size:
            return bytes((kind,)) + struct.pack(_BIG_ENDIAN[size], value)
    raise InvalidArgument("a number is too large for msgpack")


def _pack_raw(value: bytes) -> bytes:
    length = len(value)
    if length < 32:
        return bytes((0xA0 | length,)) + value
    if length < 1 << 16:
        return b"\xda" + struct.pack(">H", length) + value
    return b"\xdb" + struct.pack(">I", length) + value


class Reader:
    """Reads values one after another. `offset` is where the next begins."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self.offset = offset

    def read_map(self) -> dict[str, Value]:
        """Return the map that is next."""
        value = self._read(0)
        if not isinstance(value, dict):
            raise InvalidArgument("a msgpack map was expected")
        return value

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes as they are."""
        end = self.offset + count
        if count < 0 or end > len(self._data):
            raise InvalidArgument("a message ends too early")
        taken = self._data[self.offset : end]
        self.offset = end
        return taken

    def _number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def _read(self, depth: int) -> Value:
        data, offset = self._data, self.offset
        if offset >= len(data):
            raise InvalidArgument("a message ends too early")
        kind = data[offset]
        self.offset = offset + 1
        if kind < 0x80:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if 0xA0 <= kind < 0xC0:
            return self.take(kind & 0x1F)
        if kind < 0xA0 or kind in _LISTS or kind in _MAPS:
            return self._read_container(kind, depth)
        return self._read_scalar(kind)

    def _read_scalar(self, kind: int) -> Value:
        if size := _RAW.get(kind):
            return self.take(self._number(size))
        if size := _UNSIGNED.get(kind):
            return self._number(size)
        if size := _SIGNED.get(kind):
            return int.from_bytes(self.take(size), "big", signed=True)
        if layout := _FLOATS.get(kind):
            (number,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
            return float(number)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        raise InvalidArgument(f"msgpack has no value that begins with {kind:#x}")

    def _read_container(self, kind: int, depth: int) -> Value:
        if depth == MAX_DEPTH:
            raise InvalidArgument("a message is nested too deep")
        count = kind & 0x0F if kind < 0xA0 else self._number(_LISTS.get(kind) or _MAPS[kind])
        if count > MAX_ITEMS:
            raise InvalidArgument("a message has too many fields")
        if kind in _LISTS or 0x90 <= kind < 0xA0:
            return [self._read(depth + 1) for _ in range(count)]
        found: dict[str, Value] = {}
        for _ in range(count):
            name = self._read(depth + 1)
            if not isinstance(name, bytes):
                raise InvalidArgument("a field's name is no string")
            found[name.decode("latin-1")] = self._read(depth + 1)
        return found
