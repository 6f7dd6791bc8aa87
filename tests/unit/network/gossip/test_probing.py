"""Which member is probed, through which others, and what the answers mean."""

import pytest

from shoal.network.gossip.commands import Ask
from shoal.network.gossip.delegate import State
from shoal.network.gossip.messages import Ack, IndirectPing, Nack, Ping, Suspect, encode
from shoal.network.gossip.probing import MAX_RELAYS
from tests.unit.network.gossip.fakes import HERE, NOW, Node, alive, place, said_of


def probe(node: Node) -> tuple[str, Ping, float]:
    """Let time pass until a member is probed. Returns the member, the message and the time."""
    now = NOW
    for _ in range(100):
        now = max(now, node.list.next_at())
        node.list.tick(now)
        for address, message in node.sent(Ping):
            assert isinstance(message, Ping)
            return address, message, now
    raise AssertionError("nobody is asked")


def test_answer_in_time_keeps_a_member_alive() -> None:
    node = Node(2)
    address, ping, now = probe(node)
    assert (address, ping.node, ping.source_node, ping.source_port) == ("10.9.0.2", "n2", "n1", 7946)
    node.get(Ack(ping.seq), now=now + 0.4)
    assert node.list.knows("10.9.0.2")
    node.tick(now + 0.9, start=now)
    assert node.asked() == []
    assert node.states()["n2"] == State.ALIVE


def test_silent_member_is_asked_through_others_and_by_tcp_then_suspected() -> None:
    node = Node(2, 3, 4, 5, 6)
    address, ping, now = probe(node)
    node.list.tick(now + 0.5)
    commands = node.list.take_commands()
    tcp = [command for command in commands if isinstance(command, Ask)]
    assert [(ask.address, said_of(ask.data), ask.answered) for ask in tcp] == [(address, ping, True)]
    assert tcp[0].timeout == pytest.approx(0.5)
    helpers = node.opened(commands, IndirectPing)
    assert len(helpers) == 3
    for helper, message in helpers:
        assert helper != address
        assert isinstance(message, IndirectPing)
        assert (message.seq, message.node, message.nack) == (ping.seq, ping.node, True)
    node.list.tick(now + 1.0)
    assert node.states()[ping.node] == State.SUSPECT
    assert node.list.awareness.score == 3, "none of the helpers said that it lives"


def test_helpers_that_say_that_they_live_leave_the_doubt_with_the_member() -> None:
    node = Node(2, 3, 4)
    _, ping, now = probe(node)
    node.list.tick(now + 0.5)
    for number in (2, 3, 4):
        node.get(Nack(ping.seq), Nack(ping.seq), source=place(number), now=now + 0.9)
    node.list.tick(now + 1.0)
    assert node.states()[ping.node] == State.SUSPECT
    assert node.list.awareness.score == 0


@pytest.mark.parametrize("how", ["ack", "tcp"])
def test_late_answer_by_another_way_counts(how: str) -> None:
    node = Node(2, 3)
    _, ping, now = probe(node)
    node.list.tick(now + 0.5)
    (ask,) = node.asked()
    if how == "ack":
        node.get(Ack(ping.seq), source=place(3), now=now + 0.8)
        node.list.handle_failure(ask.number, "timed out", now + 0.9)
    else:
        node.list.handle_answer(ask.number, Ack(ping.seq), now + 0.8)
        assert "udp" in node.notes()
    node.list.tick(now + 1.0)
    assert node.states()[ping.node] == State.ALIVE


def test_wrong_answers_do_not_count() -> None:
    node = Node(2)
    _, ping, now = probe(node)
    node.get(Ack(ping.seq + 1), Nack(ping.seq), Nack(ping.seq + 1), now=now + 0.1)
    node.list.tick(now + 0.5)
    (ask,) = node.asked()
    node.list.handle_answer(ask.number, Ack(ping.seq + 1), now + 0.6)
    node.list.tick(now + 1.0)
    assert node.states()["n2"] == State.SUSPECT
    assert node.list.awareness.score == 1
    node.get(Ack(ping.seq), now=now + 1.1)
    assert node.states()["n2"] == State.SUSPECT


def test_node_that_is_not_well_waits_longer() -> None:
    node = Node(2)
    node.list.awareness.add(2)
    _, _, now = probe(node)
    node.tick(now + 2.9, start=now)
    assert node.states()["n2"] == State.ALIVE
    node.tick(now + 3.0, start=now + 2.9)
    assert node.states()["n2"] == State.SUSPECT


def test_suspect_is_told_of_it_with_the_ping() -> None:
    node = Node(2)
    node.get(Suspect(1, "n2", "n3"))
    node.sent()
    node.list._broadcasts.drop("n2")
    now = NOW
    while not (found := node.sent(Ping | Suspect)):  # type: ignore[arg-type]
        now = max(now, node.list.next_at())
        node.list.tick(now)
    assert [type(message) for _, message in found] == [Ping, Suspect]


def test_each_member_is_asked_once_a_round_and_who_is_gone_not_at_all() -> None:
    node = Node(*range(2, 12))
    asked = []
    now = NOW
    for _ in range(500):
        now = max(now, node.list.next_at())
        node.list.tick(now)
        for _, message in node.sent(Ping):
            assert isinstance(message, Ping)
            asked.append(message.node)
            node.get(Ack(message.seq), now=now)
        node.sent()
    assert len(asked) > 20
    assert sorted(asked[:10]) == sorted(f"n{number}" for number in range(2, 12))
    assert sorted(asked[10:20]) == sorted(f"n{number}" for number in range(2, 12))


def test_ping_is_answered_to_its_source_and_only_for_this_name() -> None:
    node = Node()
    node.get(Ping(7, "n1"), source=place(9))
    assert node.sent(Ack) == [("10.9.0.9", Ack(7))]
    node.get(Ping(8, "", b"\x0a\x09\x00\x08", 7946, "n8"), source=place(9))
    assert node.sent(Ack) == [("10.9.0.8", Ack(8))]
    node.get(Ping(9, "other"))
    assert node.sent(Ack) == []


def test_others_are_asked_on_behalf_and_answered_for() -> None:
    node = Node(2, 3)
    node.get(IndirectPing(50, alive(3).address, 7946, "n3", True), source=place(2))
    ((address, ping),) = node.sent(Ping)
    assert isinstance(ping, Ping)
    assert (address, ping.node) == ("10.9.0.3", "n3")
    node.get(Ack(ping.seq), source=place(3), now=NOW + 0.2)
    assert node.sent(Ack) == [("10.9.0.2", Ack(50))]
    node.list.tick(NOW + 0.6)
    assert node.sent(Nack) == []


@pytest.mark.parametrize("nack", [True, False])
def test_silence_of_the_one_asked_is_told_where_that_is_wanted(nack: bool) -> None:
    node = Node(2, 3)
    node.get(IndirectPing(50, alive(3).address, 7946, "n3", nack), source=place(2))
    node.sent()
    node.tick(NOW + 0.5)
    assert node.sent(Nack) == ([("10.9.0.2", Nack(50))] if nack else [])


def test_nobody_but_members_is_asked_on_behalf() -> None:
    node = Node(2)
    node.get(
        IndirectPing(50, b"\x08\x08\x08\x08", 53, "n2", True), IndirectPing(51, b"\x08\x08\x08\x08", 53, "x", True)
    )
    assert node.sent(Ping) == []
    node.tick(NOW + 0.5)
    assert {message for _, message in node.sent(Nack)} == {Nack(50), Nack(51)}


def test_questions_of_others_are_limited() -> None:
    node = Node(2)
    for _ in range(MAX_RELAYS):
        node.get(*[encode(IndirectPing(50, alive(2).address, 7946, "n2", True))] * 2)
    assert len(node.list._prober._relays) == MAX_RELAYS
    assert HERE[0] == node.list.config.address
