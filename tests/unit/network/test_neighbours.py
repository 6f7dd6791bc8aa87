"""Neighbours and forwarding entries as bytes, to the kernel and back."""

from ipaddress import ip_address

import pytest

from shoal.network import neighbours as tables
from shoal.network.neighbours import Forwarding, Neighbour
from shoal.network.rtnetlink import Reply, Request, attribute

MAC = "02:42:0a:00:01:05"


def reply(request: Request) -> Reply:
    """Return what the kernel tells of an entry that was made by this request.

    One of a bridge's own table (flag 0x04) comes without the flag, and with the bridge in an attribute (9): Linux 6.18.
    """
    body = bytearray(request.body)
    if body[10] & 0x04:
        body[10] &= ~0x04
        body += attribute(9, (2).to_bytes(4, "little"))
    return Reply(tables.NEW_NEIGHBOUR, 1, bytes(body))


@pytest.mark.parametrize("address", ["10.0.1.5", "fd00::5"])
def test_a_neighbour_is_read_as_it_was_set(address: str) -> None:
    one = Neighbour(7, ip_address(address), MAC)
    assert tables.neighbours([reply(tables.set_neighbour(one))]) == [one]
    assert tables.forwarding([reply(tables.set_neighbour(one))]) == []


@pytest.mark.parametrize("tunnel", ["192.0.2.1", "2001:db8::1", None])
def test_a_forwarding_entry_is_read_as_it_was_set(tunnel: str | None) -> None:
    one = Forwarding(7, MAC, ip_address(tunnel) if tunnel else None)
    assert tables.forwarding([reply(tables.set_forwarding(one))]) == [one]
    assert tables.neighbours([reply(tables.set_forwarding(one))]) == []


def test_what_was_learnt_does_not_count() -> None:
    learnt = bytearray(tables.set_neighbour(Neighbour(7, ip_address("10.0.1.5"), MAC)).body)
    learnt[8] = 0x02  # reachable
    assert tables.neighbours([Reply(tables.NEW_NEIGHBOUR, 1, bytes(learnt))]) == []
    moved = bytearray(reply(tables.set_forwarding(Forwarding(7, MAC, None))).body)
    moved[8] = 0x02
    assert tables.forwarding([Reply(tables.NEW_NEIGHBOUR, 1, bytes(moved))]) == []


def test_entries_of_the_bridge_and_of_the_device_are_deleted_apart() -> None:
    own, bridge = (tables.delete_forwarding(7, MAC, beyond=beyond).body for beyond in (True, False))
    assert own[:10] == bridge[:10]
    assert (own[10], bridge[10]) == (0x02, 0x04)
