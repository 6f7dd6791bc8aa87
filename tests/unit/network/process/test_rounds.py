"""Who is looked at next."""

from shoal.network.process.rounds import FIRST_PAUSE, LONGEST_PAUSE, Rounds


def test_all_are_looked_at_one_after_the_other() -> None:
    rounds = Rounds(64)
    containers = [f"c{number:03}" for number in range(128)]
    first, second, third = (set(rounds.due(containers, float(turn))) for turn in range(3))
    assert first | second == set(containers)
    assert third == first
    assert rounds.due(["new"], 3.0) == ["new"]
    assert rounds.due([], 4.0) == []


def test_one_that_others_keep_changing_is_looked_at_ever_less_often() -> None:
    rounds, now, looks = Rounds(64), 0.0, 0
    while now < 3600.0:
        for one in rounds.due(["a"], now):
            looks += 1
            rounds.looked(one, True, now)
        now += 1.0
    assert 3600 / LONGEST_PAUSE <= looks < 3600 / LONGEST_PAUSE + 10
    (one,) = rounds.due(["a"], now + LONGEST_PAUSE)
    rounds.looked(one, False, now)
    assert rounds.due(["a"], now) == ["a"]
    rounds.looked("a", True, now)
    assert rounds.due(["a"], now + FIRST_PAUSE - 0.1) == []
    assert rounds.due(["a"], now + FIRST_PAUSE) == ["a"]
