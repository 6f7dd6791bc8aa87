"""Flows are listed once, and each that is to end is ended."""

import errno
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from shoal.errors import ShoalError
from shoal.network.balancing import ending, flows
from shoal.network.balancing.flows import Endings
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address, Reply, Request
from tests.unit.network.balancing.test_flows import A6, VIP, VIP6, A, B, listed


class Conntrack:
    """A table of flows. `refuses`: the errno of each deletion."""

    def __init__(self, *there: tuple[Address, Address]) -> None:
        self.there = [listed(*one, number=bytes([0, 0, 0, at])) for at, one in enumerate(there)]
        self.lists = 0
        self.refuses = 0

    def stream(self, request: Request) -> Iterator[Reply]:
        self.lists += 1
        yield from self.there

    def try_all(self, requests: Sequence[Request]) -> list[int]:
        if not self.refuses:
            self.there = [one for one in self.there if _deletion(one) not in requests]
        return [self.refuses] * len(requests)


def _deletion(reply: Reply) -> Request:
    found = flows.flow(reply)
    assert found is not None
    return flows.delete(found)


def end(conntrack: Conntrack, endings: Endings) -> int:
    return ending.end(cast(NetlinkSocket, conntrack), endings)


def test_a_thousand_endings_are_one_list_and_a_look_that_none_is_left() -> None:
    conntrack = Conntrack((VIP, A), (VIP, B), (B, A), (VIP6, A6))
    many = dict.fromkeys((VIP6 + number for number in range(1000)), None)
    assert end(conntrack, Endings(to=many)) == 1
    assert conntrack.lists == 2
    assert [_deletion(one) for one in conntrack.there] == [
        _deletion(listed(*one, number=bytes([0, 0, 0, at]))) for at, one in enumerate([(VIP, A), (VIP, B), (B, A)])
    ]


def test_nothing_is_asked_for_nothing() -> None:
    conntrack = Conntrack((VIP, A))
    assert end(conntrack, Endings()) == 0
    assert conntrack.lists == 0


def test_what_ends_meanwhile_is_no_failure_and_it_is_not_looked_for_without_end() -> None:
    conntrack = Conntrack((VIP, A))
    conntrack.refuses = errno.ENOENT
    assert end(conntrack, Endings(to={VIP: None})) == 0
    assert conntrack.lists == 3


def test_a_refusal_is_said() -> None:
    conntrack = Conntrack((VIP, A))
    conntrack.refuses = errno.EPERM
    with pytest.raises(ShoalError, match="1 of 1 connections cannot be ended: Operation not permitted"):
        end(conntrack, Endings(to={VIP: None}))
