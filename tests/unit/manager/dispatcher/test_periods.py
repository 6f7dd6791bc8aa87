"""How the heartbeat's period follows from the number of nodes."""

import pytest

from shoal.manager.dispatcher.periods import epsilon, stretched


@pytest.mark.parametrize(("nodes", "period"), [(0, 5.0), (1, 5.0), (50, 5.0), (200, 10.0), (242, 11.0), (5_000, 50.0)])
def test_the_period_grows_with_the_root_of_the_number_of_nodes(nodes: int, period: float) -> None:
    assert stretched(0.0, nodes) == stretched(5.0, nodes) == pytest.approx(period)


@pytest.mark.parametrize(
    ("nodes", "period"), [(243, 243 / 22), (500, 500 / 22), (990, 45.0), (1_000, 45.0), (4_050, 45.0)]
)
def test_hundreds_of_nodes_make_22_heartbeats_a_second_as_long_as_45_seconds_are_enough(
    nodes: int, period: float
) -> None:
    assert stretched(0.0, nodes) == pytest.approx(period)


def test_a_longer_period_of_the_spec_holds_and_a_shorter_one_is_stretched_likewise() -> None:
    assert stretched(60.0, 5_000) == 60.0
    assert stretched(1.0, 50) == 1.0
    assert stretched(1.0, 200) == pytest.approx(2.0)


def test_more_nodes_never_beat_more_often_each_nor_less_often_together() -> None:
    for nodes in range(1, 6_000):
        assert stretched(5.0, nodes + 1) >= stretched(5.0, nodes)
        assert (nodes + 1) / stretched(5.0, nodes + 1) >= nodes / stretched(5.0, nodes) - 1e-9


@pytest.mark.parametrize(("period", "spread"), [(0.4, 0.2), (2.0, 0.5), (5.0, 0.5), (50.0, 5.0)])
def test_periods_are_spread_by_a_tenth_and_small_ones_as_swarm_does(period: float, spread: float) -> None:
    assert epsilon(period) == pytest.approx(spread)
