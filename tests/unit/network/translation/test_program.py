"""What the program makes of packets; the kernel's own check of it, and its work, are in cluster/test_host_ports6."""

import struct
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.translation.places import place
from shoal.network.translation.program import program
from tests.unit.network.translation.interpreter import DROP, REDIRECT, Machine

PLACE = place("a1b2c3d4", "ports", IPv4Network("172.18.0.0/16"))
assert PLACE is not None
CODE = program(PLACE)
ETHERNET = bytes(12)
IPV4, IPV6 = 0x0800, 0x86DD
PROTOCOLS = st.sampled_from([6, 17, 132])


def total(data: bytes) -> int:
    data += bytes(len(data) % 2)
    found = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    return found % 0xFFFF


def six(protocol: int, payload: bytes, traffic: int = 0, hops: int = 64) -> bytes:
    assert PLACE is not None
    head = struct.pack(">IHBB", 6 << 28 | traffic << 20 | 0xABCDE, len(payload), protocol, hops)
    return ETHERNET + b"\x86\xdd" + head + PLACE.client6.packed + PLACE.host6.packed + payload


def four(protocol: int, payload: bytes, traffic: int = 0, hops: int = 64, fragment: int = 0x4000) -> bytes:
    assert PLACE is not None
    head = struct.pack(">BBHHHBBH", 0x45, traffic, 20 + len(payload), 7, fragment, hops, protocol, 0)
    return ETHERNET + b"\x08\x00" + head + PLACE.host.packed + PLACE.client.packed + payload


@given(PROTOCOLS, st.binary(max_size=100), st.integers(0, 255), st.integers(0, 255))
def test_what_comes_over_ipv6_goes_on_over_ipv4(protocol: int, payload: bytes, traffic: int, hops: int) -> None:
    assert PLACE is not None
    came = six(protocol, payload or b"x", traffic, hops)
    machine = Machine(CODE, came, IPV6)
    assert machine.run() == REDIRECT
    assert machine.redirected == (5, 1)
    assert machine.packet[12:14] == b"\x08\x00"
    head = machine.packet[14:34]
    assert head[:2] == bytes([0x45, traffic])
    assert int.from_bytes(head[2:4], "big") == len(machine.packet) - 14
    assert head[6:10] == bytes([0, 0, hops, protocol])
    assert head[12:] == PLACE.client.packed + PLACE.host.packed
    assert total(head) == 0
    assert machine.packet[34:] == (payload or b"x")
    # What TCP and UDP reckon with the addresses: the same before and after.
    assert total(came[22:54]) == total(head[12:20])


@given(PROTOCOLS, st.binary(max_size=100), st.integers(0, 255), st.integers(0, 255))
def test_answers_go_back_over_ipv6(protocol: int, payload: bytes, traffic: int, hops: int) -> None:
    assert PLACE is not None
    machine = Machine(CODE, four(protocol, payload, traffic, hops), IPV4)
    assert machine.run() == REDIRECT
    assert machine.packet[12:14] == b"\x86\xdd"
    head = machine.packet[14:54]
    assert int.from_bytes(head[:4], "big") == 6 << 28 | traffic << 20
    assert head[4:8] == struct.pack(">HBB", len(payload), protocol, hops)
    assert head[8:] == PLACE.host6.packed + PLACE.client6.packed
    assert machine.packet[54:] == payload


@given(st.integers(0, 39), st.integers(1, 255))
def test_only_packets_of_the_two_addresses_pass(at: int, change: int) -> None:
    """Whatever byte is another one: it passes where that says nothing of who speaks, and of what."""
    came = bytearray(six(6, b"payload"))
    came[14 + at] ^= change
    passes = at in (0, 1, 2, 3, 4, 5, 7) or (at == 6 and came[20] in (17, 132))
    machine = Machine(CODE, bytes(came), IPV6)
    assert (machine.run() == REDIRECT) == passes or at in (4, 5)


@given(st.integers(8, 19), st.integers(1, 255))
def test_only_answers_of_the_two_addresses_pass(at: int, change: int) -> None:
    came = bytearray(four(6, b"payload"))
    came[14 + at] ^= change
    passes = at in (8, 10, 11) or (at == 9 and came[23] in (17, 132))
    assert (Machine(CODE, bytes(came), IPV4).run() == REDIRECT) == passes


@pytest.mark.parametrize(
    ("packet", "protocol"),
    [
        (six(58, b"an error of ICMP"), IPV6),
        (six(44, b"a fragment"), IPV6),
        (six(0, b"options"), IPV6),
        (six(6, b""), IPV6),  # longer than it can say
        (six(6, bytes(0xFFF0)), IPV6),
        (four(1, b"an error of ICMP"), IPV4),
        (four(17, b"the first fragment", fragment=0x2000), IPV4),
        (four(17, b"another fragment", fragment=1), IPV4),
        (b"\x46".join((four(6, b"options")[:14], four(6, b"options")[15:])), IPV4),
        (ETHERNET + b"\x08\x06" + bytes(28), 0x0806),
        (six(6, b"cut off")[:50], IPV6),
        (four(6, b"cut off")[:30], IPV4),
    ],
)
def test_all_else_is_dropped(packet: bytes, protocol: int) -> None:
    assert Machine(CODE, packet, protocol).run() == DROP


def test_each_place_has_a_program_of_its_own() -> None:
    assert PLACE is not None
    assert program(replace(PLACE, client6=IPv6Address("fd00::5"))) != CODE
