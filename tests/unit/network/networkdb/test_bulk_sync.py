import random
from collections.abc import Callable

import pytest

from shoal.network.networkdb import bulk_sync as module
from shoal.network.networkdb import messages
from shoal.network.networkdb.bulk_sync import (
    ANSWER_WITHIN,
    ANSWERS_AT_ONCE,
    EVERY,
    SLICE,
    Answers,
    Backlog,
    Rounds,
    payloads,
)
from shoal.network.networkdb.tables import Entry, Key, Tables
from tests.unit.network.networkdb.wires import events_in


class Others:
    """Other nodes, and the networks that they are on."""

    def __init__(self, **networks: str) -> None:
        self.on = {network: list(nodes) for network, nodes in networks.items()}

    def choose(self, network: str, accept: Callable[[str], bool]) -> str | None:
        return next((node for node in self.on.get(network, []) if accept(node)), None)

    def common(self, node: str) -> list[str]:
        return [network for network, nodes in self.on.items() if node in nodes]

    def begin(self, rounds: Rounds, now: float) -> list[tuple[str, list[str]]]:
        found = []
        for node, networks in rounds.begin(now, self.choose, self.common):
            rounds.asked(node, networks, 10, now)
            found.append((node, networks))
        return found


def test_who_joins_a_network_asks_three_one_after_the_other() -> None:
    rounds, others = Rounds(random.Random(1)), Others(x="abcde")
    rounds.joined("x", 0.0)
    assert not rounds.in_sync("x")
    for node in "abc":
        assert others.begin(rounds, 0.0) == [(node, ["x"])]
        assert others.begin(rounds, 0.0) == []
        rounds.heard(node, 11, False, 0.0)
    assert rounds.in_sync("x")
    assert others.begin(rounds, 0.0) == []
    assert 0.8 * EVERY <= rounds.next() <= EVERY


def test_two_that_do_not_answer_are_enough() -> None:
    rounds, others = Rounds(random.Random(1)), Others(x="abcde")
    rounds.joined("x", 0.0)
    assert others.begin(rounds, 0.0) == [("a", ["x"])]
    assert rounds.next() == ANSWER_WITHIN
    assert others.begin(rounds, ANSWER_WITHIN) == [("b", ["x"])]
    rounds.gone("b", ANSWER_WITHIN)
    assert rounds.in_sync("x")
    assert others.begin(rounds, ANSWER_WITHIN) == []


def test_one_sync_covers_all_networks_that_both_are_on() -> None:
    rounds, others = Rounds(random.Random(1)), Others(x="a", y="a", z="b")
    for network in "xyz":
        rounds.joined(network, 0.0)
    assert others.begin(rounds, 0.0) == [("a", ["x", "y"]), ("b", ["z"])]
    rounds.heard("a", 11, False, 0.0)
    assert others.begin(rounds, 0.0) == []
    assert rounds.in_sync("x")
    assert rounds.in_sync("y")


def test_the_answer_is_known_by_its_flag_or_by_its_time() -> None:
    for l_time, unsolicited, answered in ((10, True, False), (5, False, True), (11, True, True)):
        rounds, others = Rounds(random.Random(1)), Others(x="a")
        rounds.joined("x", 0.0)
        others.begin(rounds, 0.0)
        rounds.heard("a", l_time, unsolicited, 1.0)
        others.begin(rounds, 1.0)
        assert rounds.in_sync("x") == answered


def test_a_network_without_others_waits_until_somebody_comes() -> None:
    rounds, others = Rounds(random.Random(1)), Others(x="")
    rounds.joined("x", 0.0)
    assert others.begin(rounds, 0.0) == []
    assert rounds.in_sync("x")
    assert rounds.next() == float("inf")
    others.on["x"] = ["a"]
    rounds.appeared("x", 100.0)
    assert 100.0 < rounds.next() <= 100.5
    assert others.begin(rounds, 101.0) == [("a", ["x"])]


def test_a_node_that_returns_is_asked_before_the_half_minute_is_over() -> None:
    rounds, others = Rounds(random.Random(1)), Others(x="abc")
    rounds.joined("x", 0.0)
    for _ in range(3):
        for node, _networks in others.begin(rounds, 0.0):
            rounds.heard(node, 11, False, 0.0)
    others.begin(rounds, 0.0)
    rounds.soon("x", "c", 3.0)
    assert rounds.next() == 3.0
    assert others.begin(rounds, 3.0) == [("c", ["x"])]
    rounds.heard("c", 11, False, 3.0)
    assert others.begin(rounds, 3.0) == []
    assert rounds.next() > 20.0
    # a node that has left again is not waited for
    rounds.soon("x", "nobody", 5.0)
    assert others.begin(rounds, 5.0) == [("a", ["x"])]


def test_a_loop_of_begin_always_comes_to_rest() -> None:
    """`next` is later than now after `begin`, whatever nodes do."""
    rng = random.Random(1)
    rounds, others = Rounds(rng), Others(x="ab", y="bc", z="")
    now = 0.0
    for network in "xyz":
        rounds.joined(network, now)
    for _ in range(2000):
        now += rng.choice([0.0, 0.5, 5.0])
        for node in "abc":
            if rng.random() < 0.3:
                rounds.heard(node, 11, False, now)
            if rng.random() < 0.1:
                rounds.gone(node, now)
            if rng.random() < 0.1:
                rounds.soon(rng.choice("xyz"), node, now + rng.random())
        others.on["z"] = list(rng.choice(["", "c"]))
        if others.on["z"]:
            rounds.appeared("z", now)
        for _ in range(20):
            others.begin(rounds, now)
            if rounds.next() > now:
                break
        else:
            pytest.fail(f"still something to do at {now}")


def test_a_bulk_sync_has_live_entries_and_tombstones_of_all_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables()
    for number in range(100):
        tables.store("x", Key("t", str(number)), Entry(f"owner{number % 3}", number, bytes(100)))
    tables.store("x", Key("t", "dead"), Entry("o", 7, b"", deleting=True, reap_at=1000.0))
    tables.store("y", Key("t", "other"), Entry("o", 7, b""))
    (payload,) = payloads(tables, ["x"], 0.0)
    assert [event.key for event in events_in(payload)] == [*map(str, range(100)), "dead"]
    monkeypatch.setattr(module, "CHUNK", 2000)
    chunks = payloads(tables, ["x", "y"], 0.0)
    assert max(map(len, chunks)) < 2500
    assert sum(len(events_in(chunk)) for chunk in chunks) == 102
    assert payloads(tables, ["unknown"], 0.0) == [messages.EMPTY_COMPOUND]


def test_who_asks_too_often_is_answered_later_and_once() -> None:
    answers = Answers()
    for number in range(ANSWERS_AT_ONCE):
        answers.asked("a", [f"n{number}"])
        assert answers.due(0.0) == [("a", [f"n{number}"])]
    answers.asked("a", ["x"])
    answers.asked("a", ["y", "x"])
    answers.asked("b", ["x"])
    assert answers.due(0.0) == [("b", ["x"])]
    assert answers.due(0.5) == [("a", ["x", "y"])]
    answers.asked("b", ["x"])
    answers.gone("b")
    assert answers.due(1.0) == []
    answers.tidy(1000.0)
    assert answers._allowances == {}


def test_a_long_message_is_taken_in_slices() -> None:
    backlog = Backlog()
    assert backlog.add([b"x"] * (SLICE + 10), True)
    assert backlog.add([b"y"] * 10, False)
    assert backlog.take() == [(b"x", True)] * SLICE
    assert backlog.take() == [(b"x", True)] * 10 + [(b"y", False)] * 10
    assert not backlog
    assert backlog.bytes == 0


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1000)
    backlog = Backlog()
    assert backlog.add([bytes(600)], True)
    assert not backlog.add([bytes(600)], True)
    backlog.take()
    assert backlog.add([bytes(600)], True)
