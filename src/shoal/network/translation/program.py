"""The translation as a program of BPF, for packets that are to leave the device: they come in by it, translated. Pure.

What is not of the two addresses, not TCP, UDP or SCTP, a fragment, or has options or extension headers is dropped.
Checksums of what is carried are left as they are: `places` chooses addresses that make no difference to them.
Layouts and numbers: linux/bpf.h, linux/ip.h, linux/ipv6.h. Multi-byte numbers in packets are big-endian.
"""

import struct
import sys
from collections.abc import Iterable

from shoal.network.translation.places import Place

_INSTRUCTION = struct.Struct("=BBhI")
# Codes: class | size or operation | mode or source.
_LOAD_64, _LOAD_WORD, _LOAD_BYTE, _LOAD_HALF = 0x18, 0x61, 0x71, 0x69
_STORE_BYTE, _STORE_HALF = 0x73, 0x6B
_MOVE, _MOVE_TO, _ADD, _AND, _OR, _LEFT, _RIGHT, _XOR = 0xB7, 0xBF, 0x07, 0x57, 0x47, 0x67, 0x77, 0xA7
_ADD_FROM, _OR_FROM, _BIG = 0x0F, 0x4F, 0xDC
_IF_EQUAL, _IF_NOT, _IF_NOT_SAME, _IF_BELOW, _ALWAYS, _CALL, _EXIT = 0x15, 0x55, 0x5D, 0xA5, 0x05, 0x85, 0x95
# Helpers of the kernel.
_RANDOM, _STORE_BYTES, _REDIRECT, _LOAD_BYTES, _CHECKSUM, _CHANGE_PROTOCOL = 7, 9, 23, 26, 28, 31
# struct __sk_buff
_PROTOCOL, _INTERFACE = 16, 40
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _SCTP = 6, 17, 132
_ETHERNET, _HEADER4, _HEADER6 = 14, 20, 40
_DROP, _TO_INGRESS = 2, 1
# Where things are on the stack, from its end.
_CAME, _GOES, _TYPE = -40, -80, -88

Item = str | tuple[int, int, int, int, int | str]
"""A label, or an instruction: code, to, from, offset, value. A jump has its label last, and its value for an offset."""


def program(place: Place) -> bytes:
    """Return the instructions."""
    return _assemble([*_begin(), *_to_ipv4(place), *_to_ipv6(place), "drop", _op(_MOVE, 0, _DROP), _op(_EXIT)])


def _op(code: int, to: int = 0, value: int = 0, *, source: int = 0, offset: int = 0) -> Item:
    return (code, to, source, offset, value)


def _jump(code: int, to: int, value: int, label: str, *, source: int = 0) -> Item:
    return (code, to, source, value, label)


def _big(number: int, size: int) -> int:
    """Return a number as the kernel reads it from a packet."""
    return int.from_bytes(number.to_bytes(size, "big"), sys.byteorder)


def _begin() -> Iterable[Item]:
    yield _op(_MOVE_TO, 6, source=1)
    yield _op(_LOAD_WORD, 7, source=6, offset=_PROTOCOL)
    yield _jump(_IF_EQUAL, 7, _big(_IPV6, 2), "ipv6")
    yield _jump(_IF_EQUAL, 7, _big(_IPV4, 2), "ipv4")
    yield _jump(_ALWAYS, 0, 0, "drop")


def _read_header(size: int) -> Iterable[Item]:
    yield _op(_MOVE_TO, 1, source=6)
    yield _op(_MOVE, 2, _ETHERNET)
    yield _op(_MOVE_TO, 3, source=10)
    yield _op(_ADD, 3, _CAME)
    yield _op(_MOVE, 4, size)
    yield _op(_CALL, value=_LOAD_BYTES)
    yield _jump(_IF_NOT, 0, 0, "drop")


def _of_transport(at: int, label: str) -> Iterable[Item]:
    """Go on only with what is translated; its number is in register 8 then."""
    yield _op(_LOAD_BYTE, 8, source=10, offset=_CAME + at)
    for number in (_TCP, _UDP, _SCTP):
        yield _jump(_IF_EQUAL, 8, number, label)
    yield _jump(_ALWAYS, 0, 0, "drop")
    yield label


def _expect(packed: bytes, at: int) -> Iterable[Item]:
    """Drop what has other bytes there; in pieces of four."""
    for offset in range(0, len(packed), 4):
        value = int.from_bytes(packed[offset : offset + 4], sys.byteorder)
        yield _op(_LOAD_WORD, 1, source=10, offset=_CAME + at + offset)
        yield (_LOAD_64, 2, 0, 0, value)
        yield _jump(_IF_NOT_SAME, 1, 0, "drop", source=2)


def _put(packed: bytes, at: int) -> Iterable[Item]:
    """Write bytes, two at a time."""
    for offset in range(0, len(packed), 2):
        yield _op(_MOVE, 1, int.from_bytes(packed[offset : offset + 2], sys.byteorder))
        yield _op(_STORE_HALF, 10, source=1, offset=_GOES + at + offset)


def _send(protocol: int, size: int) -> Iterable[Item]:
    """Make it a packet of the other protocol with the header that is on the stack, and have it come in."""
    yield _op(_MOVE_TO, 1, source=6)
    yield _op(_MOVE, 2, _big(protocol, 2))
    yield _op(_MOVE, 3, 0)
    yield _op(_CALL, value=_CHANGE_PROTOCOL)
    yield _jump(_IF_NOT, 0, 0, "drop")
    yield _op(_MOVE, 1, _big(protocol, 2))
    yield _op(_STORE_HALF, 10, source=1, offset=_TYPE)
    for at, where, length in ((_ETHERNET, _GOES, size), (_ETHERNET - 2, _TYPE, 2)):
        yield _op(_MOVE_TO, 1, source=6)
        yield _op(_MOVE, 2, at)
        yield _op(_MOVE_TO, 3, source=10)
        yield _op(_ADD, 3, where)
        yield _op(_MOVE, 4, length)
        yield _op(_MOVE, 5, 0)
        yield _op(_CALL, value=_STORE_BYTES)
        yield _jump(_IF_NOT, 0, 0, "drop")
    yield _op(_LOAD_WORD, 1, source=6, offset=_INTERFACE)
    yield _op(_MOVE, 2, _TO_INGRESS)
    yield _op(_CALL, value=_REDIRECT)
    yield _op(_EXIT)


def _class_to_ipv4() -> Iterable[Item]:
    """Copy the class of service: the last half of the first byte and the first half of the second."""
    yield _op(_LOAD_BYTE, 1, source=10, offset=_CAME)
    yield _op(_AND, 1, 0x0F)
    yield _op(_LEFT, 1, 4)
    yield _op(_LOAD_BYTE, 2, source=10, offset=_CAME + 1)
    yield _op(_RIGHT, 2, 4)
    yield _op(_OR_FROM, 1, source=2)
    yield _op(_STORE_BYTE, 10, source=1, offset=_GOES + 1)


def _checksum() -> Iterable[Item]:
    """Write the checksum of the header of IPv4."""
    yield _op(_MOVE, 1, 0)
    yield _op(_MOVE, 2, 0)
    yield _op(_MOVE_TO, 3, source=10)
    yield _op(_ADD, 3, _GOES)
    yield _op(_MOVE, 4, _HEADER4)
    yield _op(_MOVE, 5, 0)
    yield _op(_CALL, value=_CHECKSUM)
    for _ in range(3):
        yield _op(_MOVE_TO, 1, source=0)
        yield _op(_RIGHT, 1, 16)
        yield _op(_AND, 0, 0xFFFF)
        yield _op(_ADD_FROM, 0, source=1)
    yield _op(_XOR, 0, 0xFFFF)
    yield _op(_STORE_HALF, 10, source=0, offset=_GOES + 10)


def _to_ipv4(place: Place) -> Iterable[Item]:
    yield "ipv6"
    yield from _read_header(_HEADER6)
    yield from _of_transport(6, "carried6")
    yield from _expect(place.client6.packed, 8)
    yield from _expect(place.host6.packed, 24)
    yield from _put(bytes(_HEADER4), 0)
    yield from _put(b"\x45\x00", 0)
    yield from _class_to_ipv4()
    yield _op(_LOAD_HALF, 1, source=10, offset=_CAME + 4)
    yield _jump(_IF_EQUAL, 1, 0, "drop")  # longer than IPv4 can say
    yield _op(_BIG, 1, 16)
    yield _op(_ADD, 1, _HEADER4)
    yield _jump(_IF_BELOW, 1, 0x10000, "short enough")
    yield _jump(_ALWAYS, 0, 0, "drop")
    yield "short enough"
    yield _op(_BIG, 1, 16)
    yield _op(_STORE_HALF, 10, source=1, offset=_GOES + 2)
    # It may be cut in pieces on its way, as nobody would be told that it was too long: each needs a number of its own.
    yield _op(_CALL, value=_RANDOM)
    yield _op(_STORE_HALF, 10, source=0, offset=_GOES + 4)
    yield _op(_LOAD_BYTE, 1, source=10, offset=_CAME + 7)
    yield _op(_STORE_BYTE, 10, source=1, offset=_GOES + 8)
    yield _op(_STORE_BYTE, 10, source=8, offset=_GOES + 9)
    yield from _put(place.client.packed + place.host.packed, 12)
    yield from _checksum()
    yield from _send(_IPV4, _HEADER4)


def _to_ipv6(place: Place) -> Iterable[Item]:
    yield "ipv4"
    yield from _read_header(_HEADER4)
    yield _op(_LOAD_BYTE, 1, source=10, offset=_CAME)
    yield _jump(_IF_NOT, 1, 0x45, "drop")
    yield _op(_LOAD_HALF, 1, source=10, offset=_CAME + 6)
    yield _op(_BIG, 1, 16)
    yield _op(_AND, 1, 0x3FFF)
    yield _jump(_IF_NOT, 1, 0, "drop")  # a fragment
    yield from _of_transport(9, "carried4")
    yield from _expect(place.host.packed + place.client.packed, 12)
    yield from _put(bytes(8), 0)
    yield _op(_LOAD_BYTE, 1, source=10, offset=_CAME + 1)
    yield _op(_MOVE_TO, 2, source=1)
    yield _op(_RIGHT, 1, 4)
    yield _op(_OR, 1, 0x60)
    yield _op(_STORE_BYTE, 10, source=1, offset=_GOES)
    yield _op(_LEFT, 2, 4)
    yield _op(_AND, 2, 0xFF)
    yield _op(_STORE_BYTE, 10, source=2, offset=_GOES + 1)
    yield _op(_LOAD_HALF, 1, source=10, offset=_CAME + 2)
    yield _op(_BIG, 1, 16)
    yield _jump(_IF_BELOW, 1, _HEADER4, "drop")
    yield _op(_ADD, 1, -_HEADER4)
    yield _op(_BIG, 1, 16)
    yield _op(_STORE_HALF, 10, source=1, offset=_GOES + 4)
    yield _op(_STORE_BYTE, 10, source=8, offset=_GOES + 6)
    yield _op(_LOAD_BYTE, 1, source=10, offset=_CAME + 8)
    yield _op(_STORE_BYTE, 10, source=1, offset=_GOES + 7)
    yield from _put(place.host6.packed + place.client6.packed, 8)
    yield from _send(_IPV6, _HEADER6)


def _assemble(items: Iterable[Item]) -> bytes:
    """Return the bytes, with labels as distances."""
    instructions: list[tuple[int, int, int, int, int | str]] = []
    labels: dict[str, int] = {}
    for item in items:
        if isinstance(item, str):
            labels[item] = len(instructions)
            continue
        instructions.append(item)
        if item[0] == _LOAD_64:  # takes two
            instructions.append((0, 0, 0, 0, 0))
    code = b""
    for at, (operation, to, source, offset, value) in enumerate(instructions):
        if isinstance(value, str):
            offset, value = labels[value] - at - 1, offset
        registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
        code += _INSTRUCTION.pack(operation, registers, offset, value & 0xFFFFFFFF)
    return code
