"""Messages to connection tracking as bytes."""

import struct
from ipaddress import ip_address

import pytest

from shoal.network.balancing import flows
from shoal.network.balancing.rules import Flows
from shoal.network.rtnetlink import Address, Reply, attribute, attributes


@pytest.mark.parametrize(
    ("virtual", "backend", "family", "source", "destination"),
    [("10.0.1.3", "10.0.1.5", 2, 1, 2), ("fd00::3", "fd00::5", 10, 3, 4)],
)
def test_flows_are_named_by_their_virtual_ip_and_who_answers(
    virtual: str, backend: str, family: int, source: int, destination: int
) -> None:
    request = flows.delete(Flows(ip_address(virtual), ip_address(backend)))
    assert (request.type, request.body[0], request.body[1]) == (0x102, family, 1)
    given = attributes(request.body[4:])
    assert attributes(attributes(given[1])[1]) == {destination: ip_address(virtual).packed}
    assert attributes(attributes(given[2])[1]) == {source: ip_address(backend).packed}
    assert attributes(given[25]) == {1: struct.pack("=I", 2), 2: struct.pack("=I", 1)}


def test_all_flows_of_a_virtual_ip_are_named_without_who_answers() -> None:
    given = attributes(flows.delete(Flows(ip_address("10.0.1.3"), None)).body[4:])
    assert set(given) == {1, 25}
    assert set(attributes(given[25])) == {1}


def test_who_answers_is_read_from_the_reply() -> None:
    def flow(kind: int, packed: bytes) -> Reply:
        return Reply(0x100, 1, bytes(4) + attribute(2, attribute(1, attribute(kind, packed))))

    four, six = ip_address("10.0.1.5"), ip_address("fd00::5")
    replies = [
        flow(1, four.packed),
        flow(3, six.packed),
        flow(1, four.packed),
        Reply(0x100, 1, bytes(4)),
        Reply(3, 1, b""),
    ]
    assert flows.answering(replies) == {four, six}
    assert flows.tally(replies) == {four: 2, six: 1}


def test_all_that_an_address_answers_can_end() -> None:
    given = attributes(flows.delete_answered(ip_address("10.0.1.5")).body[4:])
    assert set(given) == {2, 25}
    assert attributes(given[25]) == {2: struct.pack("=I", 1)}


def test_flows_are_listed_by_their_mark() -> None:
    asked = flows.list_marked(0x5A000000, 0xFF000000)
    assert (asked.type, asked.flags, asked.body[0]) == (0x101, 0x300, 2)
    assert attributes(asked.body[4:]) == {8: b"\x5a\0\0\0", 21: b"\xff\0\0\0"}


def test_flows_to_a_port_of_an_address_can_end() -> None:
    given = attributes(flows.delete_port("udp", ip_address("10.98.0.1"), 5353).body[4:])
    assert set(given) == {1, 25}
    tuple_ = attributes(given[1])
    assert attributes(tuple_[1]) == {2: ip_address("10.98.0.1").packed}
    assert {kind: value[:2] for kind, value in attributes(tuple_[2]).items()} == {
        1: b"\x11",
        3: (5353).to_bytes(2, "big"),
    }
    assert attributes(given[25]) == {1: struct.pack("=I", 0b101010)}


def test_a_namespaces_flows_are_counted_and_read_by_both_ends() -> None:
    assert (flows.get_count().type, flows.list_every().type) == (0x105, 0x101)
    assert flows.count([Reply(0x105, 1, bytes(4) + attribute(1, b"\0\0\1\0"))]) == 256
    assert flows.count([Reply(0x100, 1, bytes(4)), Reply(0x105, 1, bytes(4))]) == 0
    four, six = (ip_address("10.0.1.3"), ip_address("10.0.1.5")), (ip_address("fd00::3"), ip_address("fd00::5"))

    def flow(ends: tuple[Address, Address], destination: int, source: int) -> Reply:
        original = attribute(1, attribute(1, attribute(destination, ends[0].packed)))
        return Reply(0x100, 1, bytes(4) + original + attribute(2, attribute(1, attribute(source, ends[1].packed))))

    replies = [flow(four, 2, 1), flow(six, 4, 3), Reply(0x100, 1, bytes(4)), Reply(3, 1, b"")]
    assert flows.ends(replies) == {four, six}
