"""Bytes to and from the kernel."""

import os
import struct

import pytest

from shoal.errors import InvariantBroken
from shoal.network import rtnetlink
from shoal.network.rtnetlink import Link, Reply


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body


def test_a_request_carries_its_length_and_sequence() -> None:
    data = rtnetlink.set_up(7).encode(42)
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
    assert (length, kind, sequence) == (len(data), rtnetlink.NEW_LINK, 42)
    assert flags == rtnetlink.REQUEST | rtnetlink.ACK


def test_attributes_are_padded_to_four_bytes() -> None:
    assert len(rtnetlink.get_link("eth0").encode(1)) % 4 == 0


def test_a_datagram_is_split_into_its_messages() -> None:
    error = struct.pack("=i", -17) + bytes(16)
    data = message(rtnetlink.ERROR, 3, error) + message(rtnetlink.DONE, 4, bytes(4))
    first, second = rtnetlink.split(data)
    assert (first.type, first.sequence, first.errno) == (rtnetlink.ERROR, 3, 17)
    assert (second.type, second.sequence) == (rtnetlink.DONE, 4)


@pytest.mark.parametrize("length", [0, 15, 1000])
def test_an_impossible_length_stops(length: int) -> None:
    with pytest.raises(InvariantBroken):
        list(rtnetlink.split(struct.pack("=IHHII", length, 2, 0, 1, 0) + bytes(4)))


def test_links_are_read_with_name_and_master() -> None:
    body = struct.pack("=BxHiII", 0, 1, 9, 1, 0) + attribute(3, b"veth0\0") + attribute(10, struct.pack("=I", 4))
    assert rtnetlink.links([Reply(rtnetlink.NEW_LINK, 1, body)]) == [Link(9, "veth0", True, 4)]
    named = body + rtnetlink.set_alias(9, "shoal /d").body[16:]
    assert rtnetlink.links([Reply(rtnetlink.NEW_LINK, 1, named)]) == [Link(9, "veth0", True, 4, "shoal /d")]


def test_a_link_that_a_container_named_with_any_bytes_is_read() -> None:
    body = struct.pack("=BxHiII", 0, 1, 9, 1, 0) + attribute(3, b"\xff\xfe\0")
    (link,) = rtnetlink.links([Reply(rtnetlink.NEW_LINK, 1, body)])
    assert (link.index, os.fsencode(link.name)) == (9, b"\xff\xfe")


def test_only_routes_of_the_main_table_count() -> None:
    def route(table: int, length: int) -> Reply:
        body = struct.pack("=BBBBBBBBI", 2, length, 0, 0, table, 0, 0, 1, 0)
        return Reply(
            rtnetlink.NEW_ROUTE, 1, body + attribute(1, bytes([10, 1, 0, 0])) + attribute(4, struct.pack("=I", 3))
        )

    found = rtnetlink.routes([route(254, 16), route(255, 16), route(254, 0)])
    assert [(str(one.destination), one.interface) for one in found] == [("10.1.0.0/16", 3)]
