from shoal.network.networkdb import orphans as module
from shoal.network.networkdb.orphans import KEPT, Orphans


def test_events_wait_for_their_owner_and_no_other() -> None:
    orphans = Orphans()
    orphans.keep("net", "a", b"1", False, 0.0)
    orphans.keep("net", "a", b"2", True, 0.0)
    orphans.keep("net", "a", b"1", False, 0.0)
    orphans.keep("net", "b", b"3", False, 0.0)
    assert orphans.take("net", "a") == [(b"1", False), (b"2", True)]
    assert orphans.take("net", "a") == []
    assert len(orphans) == 1


def test_they_wait_so_long_and_so_many() -> None:
    orphans = Orphans()
    for number in range(module.MOST + 10):
        orphans.keep("net", str(number), b"x", False, float(number >= 20))
    assert len(orphans) == module.MOST
    assert orphans.take("net", "9") == []
    orphans.reap(KEPT)
    assert len(orphans) == module.MOST - 10
    orphans.reap(KEPT + 1)
    assert len(orphans) == 0
    assert orphans._of == {}


def test_a_long_one_is_not_kept() -> None:
    orphans = Orphans()
    orphans.keep("net", "a", bytes(2000), True, 0.0)
    assert len(orphans) == 0
