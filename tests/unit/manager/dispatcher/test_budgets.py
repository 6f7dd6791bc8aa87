"""How much a node may make its managers write."""

import pytest

from shoal.errors import Unavailable
from shoal.manager.dispatcher.budgets import Budgets


def test_a_burst_passes_and_what_follows_waits_its_turn() -> None:
    budgets = Budgets(burst_bytes=1000, bytes_a_second=100)
    assert budgets.spend("n1", 1000, now=5.0) == 0
    assert budgets.spend("n1", 200, now=5.0) == pytest.approx(2.0)
    with pytest.raises(Unavailable, match="node n1 reports more than"):
        budgets.spend("n1", 300, now=5.0)
    assert budgets.spend("n2", 1000, now=5.0) == 0
    assert budgets.spend("n1", 1000, now=30.0) == 0


def test_what_is_larger_than_a_budget_passes_once_it_is_full() -> None:
    budgets = Budgets(burst_bytes=1000, bytes_a_second=100)
    assert budgets.spend("n1", 10**9, now=0.0) == 0
    with pytest.raises(Unavailable):
        budgets.spend("n1", 10**9, now=1.0)
    assert budgets.spend("n1", 10**9, now=10.0) == 0


def test_over_a_long_time_no_more_than_the_rate_is_written() -> None:
    budgets, written, now = Budgets(burst_bytes=1000, bytes_a_second=100), 0, 0.0
    while now < 100:
        try:
            now += budgets.spend("n1", 50, now)
            written += 50
        except Unavailable:
            now += 0.1
    assert 100 * 100 <= written <= 1000 + 101 * 100


def test_a_node_that_was_removed_is_forgotten() -> None:
    budgets = Budgets(burst_bytes=1000, bytes_a_second=100)
    budgets.spend("n1", 1000, 0.0)
    budgets.forget("n1")
    assert budgets.spend("n1", 1000, 0.0) == 0
