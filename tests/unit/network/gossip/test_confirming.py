"""A message with a ping behind it: its answer confirms the arrival, and is given once the message was acted upon."""

import itertools

from shoal.network.gossip import confirming, framing
from shoal.network.gossip.commands import Send
from shoal.network.gossip.delegate import State
from shoal.network.gossip.memberlist import MAX_QUESTIONS
from shoal.network.gossip.messages import Ack, Ping, Suspect, encode
from shoal.network.gossip.streams import UserMessage
from tests.unit.network.gossip.fakes import NOW, Node, place, said_of


def told(node: Node, message: bytes, number: int, now: float = NOW) -> int:
    """Tell n2 something; return the number of the ping behind it."""
    node.list.tell("n2", message, number, now)
    (at, first), (also_at, ping) = node.sent()
    assert (at, also_at, first) == (place(2)[0], place(2)[0], message)
    assert isinstance(ping, Ping)
    return ping.seq


def test_an_answer_to_the_ping_behind_a_message_confirms_it_once() -> None:
    node = Node(2)
    node.list.take_commands()
    seq = told(node, b"news", 7)
    node.get(Ack(seq + 1))
    assert node.told.confirmations == []
    node.get(Ack(seq), Ack(seq))
    assert node.told.confirmations == [(7, True)]


def test_who_was_told_one_thing_cannot_foresee_the_ping_behind_another() -> None:
    node = Node(2)
    node.list.take_commands()
    numbers = [told(node, b"news", number) for number in range(4)]
    assert all(abs(one - next_one) > 1000 for one, next_one in itertools.pairwise(numbers))


def test_message_and_ping_are_one_packet() -> None:
    """So that whoever got the one got the other."""
    node = Node(2)
    node.list.take_commands()
    node.list.tell("n2", bytes(1200), 1, NOW)
    (packet,) = node.list.take_commands()
    assert isinstance(packet, Send)
    assert len(packet.data) <= 1400


def test_a_longer_message_goes_by_a_stream_that_is_read_to_its_end() -> None:
    node = Node(2)
    node.list.take_commands()
    for number in (1, 2):
        node.list.tell("n2", bytes(70_000), number, NOW)
    first, second = node.asked()
    assert (said_of(first.data), first.answered) == (UserMessage(bytes(70_000)), False)
    node.list.handle_failure(first.number, "no route", NOW)
    node.list.handle_done(second.number, NOW)
    node.list.handle_done(second.number, NOW)
    assert node.told.confirmations == [(2, True)]
    node.list.tell("n2", bytes(framing.MAX_STREAM), 3, NOW)
    assert node.asked() == []


def test_who_does_not_live_for_all_that_is_known_is_not_told() -> None:
    node = Node(2)
    node.get(Suspect(1, "n2", "n1"))
    assert node.states()["n2"] == State.SUSPECT
    node.list.take_commands()
    node.list.tell("n2", b"news", 1, NOW)
    node.list.tell("nobody", b"news", 2, NOW)
    assert node.list.take_commands() == []
    assert node.told.confirmations == [(1, False), (2, False)]


def test_an_answer_that_comes_too_late_confirms_nothing() -> None:
    node = Node(2)
    node.list.take_commands()
    seq = told(node, b"news", 1)
    node.get(Ack(seq), now=NOW + confirming.ANSWERED_WITHIN)
    assert node.told.confirmations == []


def test_questions_that_nobody_answers_are_forgotten() -> None:
    node = Node(2)
    node.list.take_commands()
    for number in range(10):
        told(node, b"news", number, NOW + number)
    assert len(node.list._confirming._asked) <= confirming.ANSWERED_WITHIN + 1


def test_a_ping_behind_a_message_is_answered_once_that_was_acted_upon() -> None:
    node = Node(2, acks_when_done=True)
    node.list.take_commands()
    ping = Ping(5, "n1", bytes((10, 9, 0, 2)), 7946, "n2")
    user = b"\x08news"
    node.get(ping, user)  # a probe: it comes first, and its answer cannot wait
    assert [message for _, message in node.sent(Ack)] == [Ack(5)]
    assert node.list.take_owed() == []
    node.get(user, Ping(6, "n1", bytes((10, 9, 0, 2)), 7946, "n2"))
    assert node.sent(Ack) == []
    owed = node.list.take_owed()
    assert node.list.take_owed() == []
    node.list.acknowledge(owed, NOW)
    assert node.sent(Ack) == [(place(2)[0], Ack(6))]


def test_answers_that_are_owed_are_limited() -> None:
    node = Node(2, acks_when_done=True)
    many = [encode(Ping(number, "n1")) for number in range(MAX_QUESTIONS)]
    for _ in range(confirming.MOST_OWED // MAX_QUESTIONS + 1):
        node.get(b"\x08news", *many)
    assert len(node.list.take_owed()) == confirming.MOST_OWED


def test_others_answer_at_once() -> None:
    node = Node(2)
    node.list.take_commands()
    node.get(b"\x08news", Ping(6, "n1"))
    assert [message for _, message in node.sent(Ack)] == [Ack(6)]
