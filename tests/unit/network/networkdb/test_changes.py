from shoal.network.networkdb.changes import Changes, Shown
from shoal.network.networkdb.tables import Key
from shoal.network.records import Changed

K = Key("t", "k")


def test_many_events_of_a_key_are_one_change_from_what_was_told() -> None:
    changes = Changes()
    shown: dict[Key, Shown] = {K: ("a", b"1")}
    show = lambda _network, key: shown.get(key)  # noqa: E731
    changes.mark("net", K, True)
    assert changes.take(show) == [Changed("t", "net", "k", "a", None, b"1")]
    changes.mark("net", K, False)
    shown[K] = ("b", b"3")
    changes.mark("net", K, True)
    assert changes.take(show) == [Changed("t", "net", "k", "b", b"1", b"3")]
    del shown[K]
    changes.mark("net", K, False)
    assert changes.take(show) == [Changed("t", "net", "k", "b", b"3", None)]
    assert changes.take(show) == []


def test_what_came_and_went_untold_is_no_change_and_keeps_nothing() -> None:
    changes = Changes()
    for number in range(1000):
        changes.mark("net", Key("t", str(number)), True)
        changes.mark("net", Key("t", str(number)), False)
    assert not changes
    changes.mark("net", K, True)
    assert changes.take(lambda _network, _key: None) == []


def test_what_is_as_told_is_no_change() -> None:
    changes = Changes()
    changes.mark("net", K, True)
    changes.take(lambda _network, _key: ("a", b"1"))
    changes.mark("net", K, True)
    assert changes.take(lambda _network, _key: ("a", b"1")) == []


def test_an_end_says_why() -> None:
    changes = Changes()
    shown: dict[Key, Shown] = {K: ("a", b"1")}
    show = lambda _network, key: shown.get(key)  # noqa: E731
    changes.mark("net", K, True)
    changes.take(show)
    del shown[K]
    changes.mark("net", K, False, "silent")
    assert changes.take(show) == [Changed("t", "net", "k", "a", b"1", None, "silent")]
    shown[K] = ("a", b"2")
    changes.mark("net", K, True, "silent")
    assert changes.take(show) == [Changed("t", "net", "k", "a", None, b"2")]
