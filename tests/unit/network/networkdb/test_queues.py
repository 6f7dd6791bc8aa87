import random

import pytest

from shoal.network.networkdb.messages import cost_in_compound
from shoal.network.networkdb.queues import MOST_RELAYED, PACKET, Queue, TableQueue, transmits
from tests.unit.network.gossip.fakes import Node
from tests.unit.network.networkdb.wires import create, events_in


@pytest.mark.parametrize(("nodes", "times"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (999, 12), (1000, 16)])
def test_messages_are_sent_as_often_as_memberlist_sends_them(nodes: int, times: int) -> None:
    assert transmits(nodes) == times


def test_those_that_were_sent_least_often_go_first_and_of_those_the_oldest() -> None:
    queue = Queue()
    for name in ("a", "b", "c"):
        queue.put(name, name.encode())
    assert queue.draw(2, 3) == [b"a", b"b"]
    queue.put("d", b"d")
    assert queue.draw(3, 3) == [b"c", b"d", b"a"]
    assert queue.draw(9, 3) == [b"b", b"c", b"d", b"a"]


def test_each_is_sent_its_times_and_no_more() -> None:
    queue = Queue()
    queue.put("a", b"a")
    assert [queue.draw(9, 2) for _ in range(3)] == [[b"a"], [b"a"], []]
    assert len(queue) == 0


def test_a_newer_message_takes_the_place_of_an_older() -> None:
    queue = Queue()
    queue.put("a", b"1")
    queue.draw(9, 4)
    queue.put("a", b"2")
    assert queue.draw(9, 1) == [b"2"]
    assert len(queue) == 0


def test_what_does_not_fit_is_not_counted_as_sent() -> None:
    queue = Queue()
    queue.put("long", bytes(100))
    queue.put("short", b"x")
    assert queue.draw(50, 1) == [b"x"]
    assert queue.draw(100, 1) == [bytes(100)]


def test_a_full_queue_drops_what_was_sent_most_often() -> None:
    queue = Queue(3)
    for name in ("a", "b", "c"):
        queue.put(name, name.encode())
    queue.draw(2, 4)
    for name in ("d", "e"):
        queue.put(name, name.encode())
    assert [name for name in "abcde" if name in queue] == ["c", "d", "e"]
    queue.put("f", b"f")
    assert [name for name in "cdef" if name in queue] == ["d", "e", "f"]


def test_no_packet_is_over_its_limit_and_nothing_is_lost() -> None:
    """Known fault 6: two queues filled one packet without counting each other's bytes."""
    rng = random.Random(6)
    queue = TableQueue()
    wanted = []
    for number in range(500):
        event = create("n", number + 1, str(number), rng.randbytes(rng.choice([3, 60, 70, 400, 1300])))
        wanted.append(str(number))
        queue.put(str(number), event, own=rng.random() < 0.5)
    seen = []
    while packet := queue.draw(1):
        assert len(packet) <= PACKET
        seen += [event.key for event in events_in(packet)]
    assert sorted(seen) == sorted(wanted)


def test_an_own_event_is_in_the_next_packet_whatever_others_wait() -> None:
    """Known fault 7: a flood of others' events held back a node's own."""
    queue = TableQueue()
    for number in range(10_000):
        queue.put(str(number), create("other", number + 1, str(number), bytes(60)), own=False)
    assert len(queue) == MOST_RELAYED
    queue.put("own", create("me", 1, "own", bytes(60)), own=True)
    packet = queue.draw(8)
    assert packet is not None
    assert events_in(packet)[0].key == "own"
    # and a node with many own events still passes on some of others
    for number in range(1000):
        queue.put(f"own{number}", create("me", 2, f"own{number}", bytes(60)), own=True)
    packet = queue.draw(8)
    assert packet is not None
    owners = [event.node_name for event in events_in(packet)]
    assert 0 < owners.count("other") < owners.count("me")


def test_an_own_event_that_is_longer_than_its_part_goes_too() -> None:
    queue = TableQueue()
    for number in range(10):
        queue.put(str(number), create("other", 1, str(number), bytes(60)), own=False)
    queue.put("own", create("me", 1, "own", bytes(1300)), own=True)
    packet = queue.draw(8)
    assert packet is not None
    assert [event.key for event in events_in(packet)] == ["own"]


def test_an_event_that_fits_into_no_packet_goes_by_itself() -> None:
    queue = TableQueue()
    longest = PACKET - 5 - (cost_in_compound(1000) - 1000)
    overhead = len(create("n", 1, "k", bytes(1000))) - 1000
    queue.put("fits", create("n", 1, "k", bytes(longest - overhead)), own=True)
    queue.put("too long", create("n", 1, "k", bytes(longest - overhead + 1)), own=True)
    packet = queue.draw(1)
    assert packet is not None
    assert len(packet) == PACKET
    assert queue.draw(1) is None
    assert queue.draw_long(1) is not None
    assert len(queue) == 0


def test_memberlist_takes_the_longest_packet() -> None:
    """Packets that were longer than a datagram were refused there, and their events counted as sent."""
    assert Node(2).list.send("n2", bytes(PACKET), reliable=False)
