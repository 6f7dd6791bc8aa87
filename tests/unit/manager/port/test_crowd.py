"""Which connection is closed when there are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.manager.port.crowd import Crowd, origin


def test_nobody_goes_while_there_is_room() -> None:
    crowd = Crowd[str](2)
    assert crowd.enter("a", "h") is None
    assert crowd.enter("b", "h") is None
    assert len(crowd) == 2


def test_the_oldest_of_the_host_with_most_goes_for_a_newcomer() -> None:
    crowd = Crowd[str](3)
    crowd.enter("node", "quiet")
    crowd.enter("f1", "flood")
    crowd.enter("f2", "flood")
    assert crowd.enter("f3", "flood") == "f1"
    assert crowd.enter("other", "second") == "f2"
    assert len(crowd) == 3


def test_a_host_with_its_full_number_makes_room_for_its_own() -> None:
    crowd = Crowd[str](10, per_host=2)
    crowd.enter("node", "quiet")
    crowd.enter("f1", "flood")
    crowd.enter("f2", "flood")
    assert crowd.enter("f3", "flood") == "f1"
    assert len(crowd) == 3


def test_who_left_makes_room() -> None:
    crowd = Crowd[str](1)
    crowd.enter("a", "h")
    crowd.leave("a")
    crowd.leave("a")
    assert crowd.enter("b", "h") is None


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:0db8:0000:0000"),
        ("2001:db8::ffff:2", "2001:0db8:0000:0000"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("", ""),
    ],
)
def test_addresses_of_one_host_count_together(address: str, host: str) -> None:
    assert origin(address) == host


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_there_are_never_more_than_the_limit(steps: list[tuple[int, bool]]) -> None:
    crowd, inside = Crowd[int](5), dict[int, int]()
    for number, (host, leaves) in enumerate(steps):
        if leaves and inside:
            member = min(inside)
            crowd.leave(member)
            del inside[member]
            continue
        gone = crowd.enter(number, str(host))
        assert (gone is None) == (len(inside) < 5)
        if gone is not None:
            counts = [list(inside.values()).count(each) for each in set(inside.values())]
            assert list(inside.values()).count(inside[gone]) == max(counts)
            del inside[gone]
        inside[number] = host
        assert len(crowd) == len(inside) <= 5
