"""A node that is not well itself is more patient."""

from shoal.network.gossip.awareness import MAX_SCORE, Awareness


def test_score_stays_within_its_bounds_and_scales_times() -> None:
    awareness = Awareness()
    awareness.add(-1)
    assert awareness.scale(0.5) == 0.5
    awareness.add(3)
    assert awareness.scale(0.5) == 2.0
    awareness.add(100)
    assert awareness.score == MAX_SCORE
    awareness.add(-1)
    assert awareness.score == MAX_SCORE - 1
