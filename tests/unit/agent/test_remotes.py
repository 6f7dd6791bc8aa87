"""Which manager is asked."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.remotes import Remotes, next_backoff, split_address

weights = st.dictionaries(st.sampled_from(["a:1", "b:1", "c:1"]), st.integers(-300, 300), min_size=1)


def test_a_good_call_moves_the_weight_half_way_to_ten_and_a_bad_one_to_minus_ten() -> None:
    remotes = Remotes({"a:1": 10, "b:1": 10})
    remotes.observe("a:1", good=False)
    assert remotes.weights() == {"a:1": 0, "b:1": 10}
    remotes.observe("a:1", good=False)
    assert remotes.weights()["a:1"] == -5
    remotes.observe("a:1", good=True)
    assert remotes.weights()["a:1"] == 3


def test_managers_that_are_no_longer_named_are_dropped_and_known_ones_keep_their_weight() -> None:
    remotes = Remotes({"a:1": 3, "b:1": 10})
    assert remotes.update([("a:1", 10), ("c:1", 10)])
    assert remotes.weights() == {"a:1": 3, "c:1": 10}
    assert not remotes.update([("a:1", 10), ("c:1", 10)])
    assert not remotes.update([])


@given(weights, st.integers())
def test_every_manager_may_be_chosen_and_none_but_those(known: dict[str, int], seed: int) -> None:
    rng = Random(seed)
    assert Remotes(known).select(rng.random) in known
    lowest = min(known, key=lambda address: known[address])
    assert Remotes({lowest: -256}).select(rng.random, but=lowest) == lowest


def test_the_one_that_just_failed_is_left_out_where_there_is_another() -> None:
    assert Remotes({"a:1": 250, "b:1": -250}).select(lambda: 0.0, but="a:1") == "b:1"
    assert Remotes({}).select(lambda: 0.0) is None


def test_a_light_manager_is_chosen_now_and_then() -> None:
    remotes, rng = Remotes({"a:1": 10, "b:1": -10}), Random(1)
    chosen = [remotes.select(rng.random) for _ in range(2000)]
    assert 20 < chosen.count("b:1") < 200


def test_the_wait_grows_to_eight_seconds() -> None:
    waits = [0.0]
    while waits[-1] < 8:
        waits.append(next_backoff(waits[-1]))
    assert waits[1:4] == pytest.approx([0.1, 0.3, 0.7])
    assert next_backoff(8.0) == 8.0


def test_addresses() -> None:
    assert split_address("10.0.0.1:2377") == ("10.0.0.1", 2377)
    assert split_address("[::1]:2377") == ("::1", 2377)
