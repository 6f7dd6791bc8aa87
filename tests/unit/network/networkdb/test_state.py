import random

from shoal.network.networkdb.queues import TableQueue
from shoal.network.networkdb.state import State
from shoal.network.networkdb.tables import Entry, Key
from tests.unit.network.networkdb.wires import NET, SELF, Peer

K = Key("t", "k")


def state() -> State:
    made = State(SELF, random.Random(1))
    made.queues[NET] = TableQueue()
    made.members.joined(Peer("a", "a"), 0.0)
    made.attachments.set("a", NET, 1)
    made.store(NET, K, Entry("a", 1, b"v"))
    return made


def test_an_entry_is_shown_while_its_owner_is_here_and_on_the_network() -> None:
    made = state()
    assert made.show(NET, K) == ("a", b"v")
    made.members.silent(Peer("a", "a"), 1.0)
    assert made.show(NET, K) is None
    made.members.joined(Peer("a", "a"), 2.0)
    assert made.show(NET, K) == ("a", b"v")
    made.attachments.set("a", NET, 2, leaving=True)
    assert made.show(NET, K) is None


def test_own_entries_are_shown_and_tombstones_and_networks_left_are_not() -> None:
    made = state()
    made.store(NET, K, Entry(SELF, 2, b"own"))
    assert made.show(NET, K) == (SELF, b"own")
    made.store(NET, K, Entry(SELF, 3, b"own", deleting=True, reap_at=50.0))
    assert made.show(NET, K) is None
    made.store(NET, K, Entry(SELF, 4, b"own"))
    del made.queues[NET]
    assert made.show(NET, K) is None


def test_purging_removes_all_of_one_node_and_says_whether_it_lost_anything() -> None:
    made = state()
    made.store(NET, Key("t", "b"), Entry("b", 1, b"v"))
    made.queues[NET].put(K, b"x", own=False)
    assert made.purge(NET, "a")
    assert not made.purge(NET, "a")
    assert made.tables.get(NET, K) is None
    assert len(made.queues[NET]) == 0
    assert made.tables.size(NET) == 1
    made.store(NET, K, Entry("a", 1, b"v", deleting=True, reap_at=50.0))
    assert not made.purge(NET, "a")


def test_nothing_is_left_of_a_purged_node() -> None:
    made = state()
    made.hidden.set("a", 1.0)
    made.left_records.set(("a", NET), 1.0)
    made.network_events.put((NET, "a"), b"x")
    made.purge_node("a", 0.0)
    assert len(made.tables) == len(made.attachments) == len(made.hidden) == len(made.left_records) == 0
    assert len(made.network_events) == 0
