"""How long a suspected member may still refute."""

import pytest

from shoal.network.gossip.suspicion import Suspicion, bounds


@pytest.mark.parametrize(("members", "shortest"), [(0, 4), (1, 4), (10, 4), (100, 8), (1000, 12)])
def test_bounds_grow_with_the_logarithm(members: int, shortest: float) -> None:
    assert bounds(members, 1.0) == pytest.approx((shortest, 6 * shortest))


@pytest.mark.parametrize("members", [1, 2, 3])
def test_among_few_nobody_can_confirm(members: int) -> None:
    suspicion = Suspicion("a", members, 1.0, 10.0)
    assert suspicion.ends_at == 14.0
    assert not suspicion.confirm("b")


def test_each_confirmer_brings_the_end_closer() -> None:
    suspicion = Suspicion("a", 10, 1.0, 10.0)
    assert suspicion.ends_at == 34.0
    assert not suspicion.confirm("a"), "who began it confirms nothing"
    assert suspicion.confirm("b")
    assert suspicion.ends_at == pytest.approx(34 - 20 * 0.6309, abs=0.01)
    assert not suspicion.confirm("b")
    assert suspicion.confirm("c")
    assert suspicion.ends_at == pytest.approx(14.0)
    assert not suspicion.confirm("d"), "two are enough"
