"""Questions to the kernel about sockets, as bytes: cluster/test_host_ports6 has it answer."""

from ipaddress import IPv6Address

import pytest

from shoal.network.host_ports.listeners import ask, listens
from shoal.network.rtnetlink import Reply
from shoal.network.wanted import Protocol

ADDRESS = IPv6Address("fd00::ac12:2")


@pytest.mark.parametrize(("protocol", "number"), [("tcp", 6), ("udp", 17)])
def test_a_socket_is_asked_for_by_protocol_address_and_port(protocol: Protocol, number: int) -> None:
    asked = ask(protocol, ADDRESS, 80)
    assert asked is not None
    assert asked.type == 20
    assert asked.body[:2] == bytes([10, number])
    ports, near, far = asked.body[8:12], asked.body[12:28], asked.body[28:44]
    mine = (bytes([0, 80, 0, 0]), ADDRESS.packed, bytes(16))
    assert (ports, near, far) == (mine if protocol == "tcp" else (bytes([0, 0, 0, 80]), bytes(16), ADDRESS.packed))
    assert len(asked.body) == 56


def test_of_sctp_nothing_can_be_told() -> None:
    assert ask("sctp", ADDRESS, 80) is None


def test_only_a_socket_of_ipv6_that_waits_for_whomever_counts() -> None:
    assert listens("tcp", [Reply(20, 1, bytes([10, 10, 0, 0]))])
    assert listens("udp", [Reply(20, 1, bytes([10, 7, 0, 0]))])
    assert not listens("tcp", [Reply(20, 1, bytes([10, 1, 0, 0]))])  # a connection
    assert not listens("tcp", [Reply(20, 1, bytes([2, 10, 0, 0]))])
    assert not listens("tcp", [Reply(20, 1, b"")])
    assert not listens("tcp", [])
