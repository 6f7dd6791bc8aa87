"""How much one container may ask, and that other containers are not affected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.names.limits import Bucket, Limits, Outside


def test_a_rate_is_kept_and_comes_back() -> None:
    bucket = Bucket(10, 0.0)
    assert bucket.take(32, 0.0) == 10
    assert bucket.take(1, 0.0) == 0
    assert bucket.wait(1) == pytest.approx(0.1)
    assert bucket.take(32, 0.5) == 5
    assert bucket.take(32, 100.0) == 10  # no more is saved than comes in a second


def test_what_is_not_used_is_there_again() -> None:
    bucket = Bucket(10, 0.0)
    bucket.take(10, 0.0)
    bucket.give_back(4)
    assert bucket.take(32, 0.0) == 4


def test_one_who_can_wait_is_told_how_long() -> None:
    bucket = Bucket(10, 0.0)
    assert bucket.spend(10, 0.0) == 0
    assert bucket.spend(1, 0.0) == pytest.approx(0.1)
    assert bucket.spend(1, 0.0) == pytest.approx(0.2)
    assert bucket.take(1, 0.1) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=40))
def test_no_more_than_the_rate_is_given(wishes: list[tuple[int, float]]) -> None:
    bucket = Bucket(10, 0.0)
    now = given = 0.0
    for wanted, later in wishes:
        now += later
        given += bucket.take(wanted, now)
    assert given <= 10 + 10 * now + 1e-6


def test_questions_outside_are_counted_a_container() -> None:
    outside = Outside(Limits(outside=2, outside_rate=100))
    assert outside.begin("a", 0.0)
    assert outside.begin("a", 0.0)
    assert not outside.begin("a", 0.0)
    assert outside.begin("b", 0.0)
    outside.end("a")
    assert outside.begin("a", 0.0)
    assert outside.of == {"a": 2, "b": 1}


def test_a_container_has_some_though_others_took_all() -> None:
    outside = Outside(Limits(outside=10, all_outside=10, outside_own=2, outside_rate=100))
    assert all(outside.begin("flood", 0.0) for _ in range(10))
    assert [outside.begin("polite", 0.0) for _ in range(3)] == [True, True, False]


def test_the_rate_outside_is_a_containers_own() -> None:
    outside = Outside(Limits(outside_rate=3))
    for _ in range(3):
        assert outside.begin("a", 0.0)
        outside.end("a")
    assert not outside.begin("a", 0.0)
    assert outside.begin("b", 0.0)
    outside.forget("a")
    outside.end("b")
    assert outside.of == {}
    assert outside.all == 0
