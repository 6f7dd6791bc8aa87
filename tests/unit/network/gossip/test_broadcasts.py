"""The queue of broadcasts that are added to packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.gossip.broadcasts import Broadcasts, transmit_limit


@pytest.mark.parametrize(("members", "limit"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (999, 12)])
def test_limit_is_the_real_ones(members: int, limit: int) -> None:
    assert transmit_limit(members) == limit


def test_message_is_sent_so_often_and_no_more() -> None:
    queue = Broadcasts()
    queue.queue("a", b"about a")
    assert "a" in queue
    for _ in range(4):
        assert queue.take(2, 100, 9) == [b"about a"]
    assert queue.take(2, 100, 9) == []
    assert len(queue) == 0


def test_newer_message_about_a_member_replaces_the_older() -> None:
    queue = Broadcasts()
    queue.queue("a", b"alive")
    queue.take(2, 100, 9)
    queue.queue("a", b"dead!")
    assert [queue.take(2, 100, 9) for _ in range(5)] == [[b"dead!"]] * 4 + [[]]


def test_order_is_fewest_sent_then_longest_then_newest() -> None:
    queue = Broadcasts()
    queue.queue("old", b"1")
    queue.take(0, 100, 9)
    for name, message in (("b", b"22"), ("c", b"33"), ("d", b"444")):
        queue.queue(name, message)
    assert queue.take(0, 100, 9) == [b"444", b"33", b"22", b"1"]


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=20), st.integers(0, 200), st.integers(0, 5))
def test_room_is_never_exceeded_and_only_what_is_given_counts(messages: list[bytes], limit: int, overhead: int) -> None:
    queue = Broadcasts()
    for number, message in enumerate(messages):
        queue.queue(str(number), message)
    total = 0
    for _ in range(len(messages) * 4 + 1):
        taken = queue.take(overhead, limit, 9)
        assert sum(map(len, taken)) + overhead * len(taken) <= limit
        total += len(taken)
    assert total == 4 * sum(overhead + len(message) <= limit and limit > overhead for message in messages)


def test_dropped_message_is_not_sent() -> None:
    queue = Broadcasts()
    queue.queue("a", b"about a")
    queue.drop("a")
    queue.drop("b")
    assert queue.take(2, 100, 9) == []
