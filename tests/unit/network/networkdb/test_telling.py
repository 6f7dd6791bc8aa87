"""What is told directly: at once, again until it is confirmed, to nobody who does not count, and not for ever."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.networkdb import messages
from shoal.network.networkdb.telling import AGAIN_AFTER, MOST_AT_ONCE, PACKET, WINDOW, WITHIN, Telling, Told
from tests.unit.network.networkdb.wires import create, on


def telling() -> Telling:
    return Telling(lambda network: on("me", 1, network))


def everybody(node: str, network: str) -> bool:
    return True


def parts(told: Told) -> list[bytes]:
    outer = messages.unwrap(told.message)
    assert outer is not None
    return messages.parts(outer[1]) or []


def nodes(sent: Iterable[Told]) -> list[str]:
    return [one.node for one in sent]


def test_each_node_is_told_at_once_and_first_of_all_that_this_one_is_on_the_network() -> None:
    one = telling()
    event = create("me", 1, "k")
    assert (one.last, one.told) == (0, 0)
    one.write("net", "k", event, ["a", "b"], 5.0)
    assert (one.last, one.told, one.next_at()) == (1, 0, 5.0)
    sent = one.due(everybody, 5.0)
    assert nodes(sent) == ["a", "b"]
    assert parts(sent[0]) == [on("me", 1, "net"), event]
    one.confirm(sent[0].number, 5.1)
    one.confirm(sent[0].number, 5.1)
    one.confirm(99, 5.1)
    assert one.told == 0
    one.confirm(sent[1].number, 5.1)
    assert (one.told, len(one), one.next_at()) == (1, 0, float("inf"))


def test_what_nobody_confirms_is_sent_again_and_in_the_end_not_waited_for() -> None:
    one = telling()
    one.write("net", "k", create("me", 1, "k"), ["a", "b"], 0.0)
    first = one.due(everybody, 0.0)
    assert one.due(everybody, 0.1) == []
    assert one.next_at() == AGAIN_AFTER
    again = one.due(everybody, AGAIN_AFTER)
    assert nodes(again) == ["a", "b"]
    one.confirm(first[0].number, 0.3)  # late, and as good
    sent = 0
    while one.next_at() < WITHIN:
        sent += len(one.due(everybody, one.next_at()))
    assert 8 <= sent <= 9  # of numbers with a point
    assert (one.told, one.next_at()) == (0, WITHIN)
    assert one.due(everybody, WITHIN) == []
    assert (one.told, len(one)) == (1, 0)
    assert one.take_silent() == ["b"]
    assert one.take_silent() == []


def test_a_node_that_is_gone_or_suspected_does_not_count() -> None:
    one = telling()
    one.write("net", "k", create("me", 1, "k"), ["a", "b", "c"], 0.0)
    sent = one.due(lambda node, network: node != "a", 0.0)
    assert nodes(sent) == ["b", "c"]
    one.give_up(sent[0].number)
    one.give_up(99)
    one.confirm(sent[1].number, 0.1)
    assert (one.told, one.take_silent()) == (1, [])


def test_a_newer_event_about_a_key_takes_the_place_of_an_older() -> None:
    one = telling()
    one.write("net", "k", create("me", 1, "k"), ["a"], 0.0)
    (old,) = one.due(everybody, 0.0)
    newer = create("me", 2, "k", b"other")
    one.write("net", "k", newer, ["a"], 0.01)
    one.confirm(old.number, 0.02)
    assert (one.last, one.told) == (2, 0)  # nobody has confirmed the older, and the newer says more
    (sent,) = one.due(everybody, 0.02)
    assert parts(sent)[1:] == [newer]
    one.confirm(sent.number, 0.03)
    assert one.told == 2


def test_an_event_that_newer_ones_replace_again_and_again_is_not_waited_for_any_longer() -> None:
    one = telling()
    for number in range(4):
        one.write("net", "k", create("me", number + 1, "k"), ["a"], number / 2)
        one.due(everybody, number / 2)
    assert (one.told, one.last) == (0, 4)
    while one.next_at() <= WITHIN:
        one.due(everybody, one.next_at())
    assert one.told == 1
    one.write("net", "k", create("me", 5, "k"), [], WITHIN)  # nobody is left
    assert (one.told, one.last) == (5, 5)


def test_what_was_deleted_or_left_is_not_waited_for() -> None:
    one = telling()
    for network, key in (("net", "k"), ("net", "l"), ("other", "k")):
        one.write(network, key, create("me", 1, key), ["a"], 0.0)
    one.write("net", "m", create("me", 1, "m"), [], 0.0)  # nobody is there
    one.discard("net", "k")
    one.discard("net", "k")
    assert (one.last, one.told) == (4, 1)
    assert one.tells("net", "l")
    one.leave("net")
    assert not one.tells("net", "l")
    assert one.told == 2
    one.leave("other")
    assert (one.told, one.due(everybody, 0.0)) == (4, [])


def test_many_events_go_in_few_packets_and_a_few_packets_at_a_time() -> None:
    one = telling()
    for number in range(200):
        one.write("net", number, create("me", 1, f"{number:064x}", bytes(100)), ["a"], 0.0)
    sent = one.due(everybody, 0.0)
    assert len(sent) == WINDOW
    assert all(len(each.message) <= PACKET for each in sent)
    assert len(parts(sent[0])) > 5
    assert one.due(everybody, 0.01) == []
    assert one.next_at() == AGAIN_AFTER
    one.confirm(sent[0].number, 0.02)
    assert one.next_at() == 0.02
    assert len(one.due(everybody, 0.02)) == 1


def test_an_event_that_is_longer_than_a_packet_is_alone() -> None:
    one = telling()
    for key, size in (("short", 10), ("long", 3000), ("next", 10)):
        one.write("net", key, create("me", 1, key, bytes(size)), ["a"], 0.0)
    assert [len(parts(each)) - 1 for each in one.due(everybody, 0.0)] == [1, 1, 1]


def test_a_thousand_nodes_are_told_in_turn() -> None:
    one = telling()
    names = [f"{number}" for number in range(1000)]
    one.write("net", "k", create("me", 1, "k"), names, 0.0)
    told: list[str] = []
    rounds = 0
    while len(told) < 1000:
        assert one.next_at() == 0.0
        told += nodes(one.due(everybody, 0.0))
        rounds += 1
    assert (told, rounds) == (names, -(-1000 // MOST_AT_ONCE))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "discard", "leave", "tick", "confirm", "give up", "gone"]),
        st.integers(0, 5),
        st.floats(0.0, 0.5),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 400))
def test_whatever_happens_nobody_waits_longer_than_he_should(steps: list[tuple[str, int, float]], size: int) -> None:
    one, now, here = telling(), 0.0, {"a", "b", "c"}
    sent: list[Told] = []
    last_written, told = 0.0, 0
    for what, which, wait in steps:
        now += wait
        if what == "write":
            one.write(f"n{which % 2}", which, create("me", 1, f"k{which}", bytes(size)), sorted(here), now)
            last_written = now
        elif what == "discard":
            one.discard(f"n{which % 2}", which)
        elif what == "leave":
            one.leave(f"n{which % 2}")
        elif what == "tick":
            fresh = one.due(lambda node, network: node in here, now)
            assert len(fresh) <= WINDOW * len(here)
            sent += fresh
        elif what == "gone":
            here.discard("abc"[which % 3])
        elif sent:
            number = sent[which % len(sent)].number
            one.confirm(number, now) if what == "confirm" else one.give_up(number)
        assert told <= one.told <= one.last
        told = one.told
        assert len({each.number for each in sent}) == len(sent)
    one.due(lambda node, network: node in here, last_written + WITHIN)
    assert (one.told, len(one)) == (one.last, 0)
    assert not one._nodes
    assert not one._packets


def test_packets_of_a_node_that_never_answers_are_forgotten_though_there_is_always_more_to_tell_it() -> None:
    one = telling()
    now, most = 0.0, 0
    for number in range(200):
        one.write("net", f"k{number}", create("me", number + 1, f"k{number}"), ["a"], now)
        one.due(everybody, now)
        now += AGAIN_AFTER
        most = max(most, len(one._packets))
    assert most <= WINDOW * (WITHIN / AGAIN_AFTER + 1)


def miss(one: Telling, key: str, now: float) -> float:
    """Tell something that "a" never confirms, and "b" at once; return when nobody waits for it."""
    one.write("net", key, create("me", 1, key), ["a", "b"], now)
    for sent in one.due(everybody, now):
        if sent.node == "b":
            one.confirm(sent.number, now)
    began = now
    while one.told < one.last:
        now = one.next_at()
        assert now <= began + WITHIN
        one.due(everybody, now)
    return now


def test_a_node_that_never_confirms_is_waited_for_three_times_and_told_all_the_same() -> None:
    one, now = telling(), 0.0
    for number in range(3):
        then = miss(one, f"k{number}", now)
        assert (then - now, one.take_silent()) == (WITHIN, ["a"])
        now = then
    assert miss(one, "k3", now) == now
    sent = one.due(everybody, now + AGAIN_AFTER)
    assert nodes(sent) == ["a"]
    one.due(everybody, now + WITHIN)
    assert (len(one), one.take_silent()) == (0, [])
    one.write("net", "k4", create("me", 1, "k4"), ["a"], now + 3)
    assert one.told == one.last
    (answered,) = one.due(everybody, now + 3)
    one.confirm(answered.number, now + 3)  # it counts again
    assert miss(one, "k5", now + 4) == now + 4 + WITHIN


def test_many_events_of_one_wait_are_one_miss_and_who_left_is_forgotten() -> None:
    one = telling()
    for number in range(5):
        one.write("net", number, create("me", 1, f"k{number}"), ["a"], number / 10)
    while one.told < one.last:
        one.due(everybody, one.next_at())
    assert miss(one, "again", 10.0) == 10.0 + WITHIN
    assert one._missed
    one.due(lambda node, network: False, 13.0)
    assert not one._missed
