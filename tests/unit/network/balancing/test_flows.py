"""Messages to connection tracking as bytes, and which flows are to end."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.balancing import flows
from shoal.network.balancing.flows import FEW, Endings, Flow
from shoal.network.rtnetlink import Address, Reply, attribute, attributes

VIP, A, B = (ip_address(f"10.0.1.{last}") for last in (3, 5, 6))
VIP6, A6 = ip_address("fd00::3"), ip_address("fd00::5")


def listed(to: Address, answers: Address, protocol: int = 17, port: int = 5353, number: bytes = b"\0\0\0\7") -> Reply:
    """Return a flow as the kernel lists it."""
    destination, source = (2, 1) if to.version == 4 else (4, 3)
    transport = attribute(1, bytes([protocol])) + attribute(2, b"\1\1") + attribute(3, port.to_bytes(2, "big"))
    original = attribute(1, attribute(destination, to.packed)) + attribute(2, transport)
    reply = attribute(1, attribute(source, answers.packed))
    body = bytes([2 if to.version == 4 else 10, 0, 0, 0])
    body += attribute(1, original) + attribute(2, reply) + attribute(12, number)
    return Reply(0x100, 1, body)


def made(to: Address, answers: Address, protocol: int = 17, port: int = 5353) -> Flow:
    found = flows.flow(listed(to, answers, protocol, port))
    assert found is not None
    return found


@pytest.mark.parametrize(("to", "answers", "family"), [(VIP, A, 2), (VIP6, A6, 10)])
def test_a_flow_is_ended_by_its_whole_tuple_and_its_number(to: Address, answers: Address, family: int) -> None:
    found = made(to, answers)
    assert (found.to, found.answers, found.protocol, found.port) == (to, answers, 17, 5353)
    request = flows.delete(found)
    assert (request.type, request.body[0], request.body[1]) == (0x102, family, 1)
    listing = attributes(listed(to, answers).body[4:])
    given = attributes(request.body[4:])
    assert given == {1: listing[1], 12: b"\0\0\0\7"}  # no filter


def test_what_is_no_flow_is_none() -> None:
    for reply in (Reply(0x100, 1, bytes(4)), Reply(3, 1, b""), Reply(0x100, 1, b"")):
        assert flows.flow(reply) is None


@pytest.mark.parametrize(
    ("endings", "ended"),
    [
        (Endings(to={VIP: None}), {(VIP, A), (VIP, B)}),
        (Endings(to={VIP: {A}}), {(VIP, A)}),
        (Endings(to={VIP6: None}), {(VIP6, A6)}),
        (Endings(answered={A}), {(VIP, A), (B, A)}),
        (Endings(begun={("udp", VIP, 5353)}), {(VIP, A), (VIP, B)}),
        (Endings(begun={("tcp", VIP, 5353), ("udp", VIP, 53)}), set()),
        (Endings(), set()),
    ],
)
def test_which_flows_end(endings: Endings, ended: set[tuple[Address, Address]]) -> None:
    every = [(VIP, A), (VIP, B), (B, A), (VIP6, A6), (A6, VIP6)]
    assert {ends for ends in every if endings.names(made(*ends))} == ended
    assert bool(endings) == (endings != Endings())


def test_few_addresses_of_ipv4_are_listed_alone_and_ipv6_never_is() -> None:
    (asked,) = Endings(to={VIP: {A}}).lists()
    assert (asked.type, asked.flags, asked.body[0]) == (0x101, 0x300, 2)
    given = attributes(asked.body[4:])
    assert attributes(attributes(given[1])[1]) == {2: VIP.packed}
    assert attributes(given[25]) == {1: struct.pack("=I", 2)}
    (asked,) = Endings(answered={A}).lists()
    given = attributes(asked.body[4:])
    assert attributes(attributes(given[2])[1]) == {1: A.packed}
    assert attributes(given[25]) == {2: struct.pack("=I", 1)}
    assert [one.body for one in Endings(to={VIP6: None}).lists()] == [bytes([10, 0, 0, 0])]
    many = Endings(to=dict.fromkeys((A + number for number in range(FEW)), None), answered={B, A6})
    assert [one.body for one in many.lists()] == [bytes(4)]
    many = Endings(to=many.to, answered={B})
    assert [one.body for one in many.lists()] == [bytes([2, 0, 0, 0])]
    assert flows.list_all(VIP) == Endings(to={VIP: None}).lists()[0]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_flow_or_none(body: bytes) -> None:
    flows.flow(Reply(0x100, 1, body))


def test_who_answers_is_read_from_the_reply() -> None:
    replies = [listed(VIP, A), listed(VIP6, A6), listed(VIP, A), listed(B, A), Reply(3, 1, b"")]
    assert flows.answering(replies) == {A, A6}
    assert flows.tally(replies, VIP) == {A: 2}


def test_flows_are_listed_by_their_mark() -> None:
    asked = flows.list_marked(0x5A000000, 0xFF000000)
    assert (asked.type, asked.flags, asked.body[0]) == (0x101, 0x300, 2)
    assert attributes(asked.body[4:]) == {8: b"\x5a\0\0\0", 21: b"\xff\0\0\0"}


def test_a_namespaces_flows_are_counted() -> None:
    assert (flows.get_count().type, flows.list_every().type) == (0x105, 0x101)
    assert flows.count([Reply(0x105, 1, bytes(4) + attribute(1, b"\0\0\1\0"))]) == 256
    assert flows.count([Reply(0x100, 1, bytes(4)), Reply(0x105, 1, bytes(4))]) == 0
