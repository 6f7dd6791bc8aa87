import random

from shoal.network.networkdb.crowd import Crowd


def test_names_are_drawn_once_each_and_only_accepted_ones() -> None:
    for size in (0, 1, 5, 500):
        crowd = Crowd()
        for number in range(size):
            crowd.add(str(number))
            crowd.add(str(number))
        assert len(crowd) == size
        drawn = crowd.sample(3, random.Random(1), lambda name: name.endswith(("1", "2")))
        assert len(set(drawn)) == len(drawn) == min(3, sum(name.endswith(("1", "2")) for name in crowd))


def test_the_last_accepted_one_in_a_large_crowd_is_found() -> None:
    crowd = Crowd()
    for number in range(1000):
        crowd.add(str(number))
    assert crowd.sample(3, random.Random(1), lambda name: name == "777") == ["777"]


def test_all_are_drawn_about_equally() -> None:
    crowd = Crowd()
    for number in range(50):
        crowd.add(str(number))
    rng = random.Random(1)
    counts = dict.fromkeys(crowd, 0)
    for _ in range(2000):
        for name in crowd.sample(3, rng, lambda _name: True):
            counts[name] += 1
    assert min(counts.values()) > 60


def test_removing_keeps_the_others() -> None:
    crowd = Crowd()
    for name in "abcd":
        crowd.add(name)
    for name in "bdx":
        crowd.discard(name)
    assert sorted(crowd) == ["a", "c"]
    assert "a" in crowd
    assert "b" not in crowd
