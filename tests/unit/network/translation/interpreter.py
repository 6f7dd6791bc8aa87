"""Runs programs of BPF as the kernel would, as far as the translation's go: on one packet, from its Ethernet header."""

import struct
import sys
from dataclasses import dataclass, field

DROP, REDIRECT = 2, 7
_STACK = 512
_ALL = 2**64 - 1


@dataclass
class Machine:
    """One run. `packet` and `protocol` are what became of it."""

    program: bytes
    packet: bytes
    protocol: int
    random: int = 0x1234
    interface: int = 5
    redirected: tuple[int, int] | None = None
    registers: list[int] = field(default_factory=lambda: [0] * 11)
    stack: bytearray = field(default_factory=lambda: bytearray(_STACK))

    def run(self) -> int:
        at, steps = 0, 0
        self.registers[10] = _STACK
        while True:
            steps += 1
            assert steps < 10_000
            code, both, offset, value = struct.unpack_from("=BBhi", self.program, at * 8)
            to, source = both & 15, both >> 4
            at += 1
            if code == 0x95:
                return self.registers[0]
            if code == 0x85:
                self._call(value)
            elif code == 0x18:
                (high,) = struct.unpack_from("=xxxxi", self.program, at * 8)
                self.registers[to] = (value & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32
                at += 1
            elif code & 7 == 5:
                other = self.registers[source] if code & 8 else value & _ALL
                mine = self.registers[to]
                if {0x00: True, 0x10: mine == other, 0x50: mine != other, 0xA0: mine < other}[code & 0xF0]:
                    at += offset
            elif code & 7 in (1, 3):
                size = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}[code & 0x18]
                self._memory(code & 7 == 3, to, source, offset, size)
            elif code == 0xDC:
                assert value == 16
                self.registers[to] = int.from_bytes((self.registers[to] & 0xFFFF).to_bytes(2, sys.byteorder), "big")
            else:
                assert code & 7 == 7
                other = self.registers[source] if code & 8 else value
                mine = self.registers[to]
                result = {
                    0x00: mine + other, 0x40: mine | other, 0x50: mine & other, 0xA0: mine ^ other, 0xB0: other,
                    0x60: mine << (other & 63), 0x70: mine >> (other & 63),
                }[code & 0xF0]  # fmt: skip
                self.registers[to] = result & _ALL

    def _memory(self, store: bool, to: int, source: int, offset: int, size: int) -> None:
        if store:
            where = self.registers[to] + offset
            assert 0 <= where <= _STACK - size
            self.stack[where : where + size] = (self.registers[source] & (1 << 8 * size) - 1).to_bytes(
                size, sys.byteorder
            )
        elif source == 6:  # what the kernel tells of the packet
            self.registers[to] = {16: self._big(self.protocol), 40: self.interface}[offset]
        else:
            where = self.registers[source] + offset
            assert 0 <= where <= _STACK - size
            self.registers[to] = int.from_bytes(self.stack[where : where + size], sys.byteorder)

    @staticmethod
    def _big(number: int) -> int:
        return int.from_bytes(number.to_bytes(2, "big"), sys.byteorder)

    def _call(self, number: int) -> None:
        a, b, c = self.registers[2:5]
        result = 0
        if number == 7:
            result = self.random
        elif number == 26:
            if a + c > len(self.packet):
                result = _ALL
            else:
                self.stack[b : b + c] = self.packet[a : a + c]
        elif number == 9:
            assert a + c <= len(self.packet)
            self.packet = self.packet[:a] + bytes(self.stack[b : b + c]) + self.packet[a + c :]
        elif number == 28:
            data = bytes(self.stack[b : b + c])
            result = sum(int.from_bytes(data[i : i + 2], sys.byteorder) for i in range(0, len(data), 2))
        elif number == 31:
            head = {0x86DD: 40, 0x0800: 20}
            before, self.protocol = self.protocol, self._big(a)
            self.packet = self.packet[:14] + bytes(head[self.protocol]) + self.packet[14 + head[before] :]
        else:
            assert number == 23
            self.redirected = (self.registers[1], a)
            result = REDIRECT
        self.registers[0] = result
        self.registers[1:6] = [0xDEAD] * 5
