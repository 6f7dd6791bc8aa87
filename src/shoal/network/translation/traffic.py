"""A program at a device, as bytes for the kernel's rtnetlink: what leaves the device is given to it. Pure.

Layouts and numbers: linux/pkt_sched.h, linux/pkt_cls.h.
"""

import struct
import sys

from shoal.network.rtnetlink import ACK, CREATE, EXCLUSIVE, Request, attribute

_NEW_DISCIPLINE, _NEW_FILTER = 36, 44
_MESSAGE = struct.Struct("=BxxxiIII")
_KIND, _OPTIONS = 1, 2
_PROGRAM, _NAME, _FLAGS = 6, 7, 8
_DIRECT = 1  # the program itself says what becomes of a packet
_ROOM, _AT = 0xFFFF0000, 0xFFFFFFF1  # clsact, and where it is
_LEAVING = 0xFFFFFFF3
_ALL = int.from_bytes((3).to_bytes(2, "big"), sys.byteorder)  # ETH_P_ALL, as it is in a packet
_PRIORITY = 1


def add_room(index: int) -> Request:
    """Make room for programs at a device."""
    body = _MESSAGE.pack(0, index, _ROOM, _AT, 0) + attribute(_KIND, b"clsact\0")
    return Request(_NEW_DISCIPLINE, ACK | CREATE | EXCLUSIVE, body)


def set_program(index: int, descriptor: int, name: str) -> Request:
    """Give what leaves a device to a program."""
    options = attribute(_PROGRAM, struct.pack("=I", descriptor)) + attribute(_NAME, name.encode() + b"\0")
    options += attribute(_FLAGS, struct.pack("=I", _DIRECT))
    body = _MESSAGE.pack(0, index, 1, _LEAVING, _PRIORITY << 16 | _ALL)
    return Request(_NEW_FILTER, ACK | CREATE, body + attribute(_KIND, b"bpf\0") + attribute(_OPTIONS, options))
