"""The whole state machine: what comes in, what goes out, and that no input can break it."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, pushpull
from shoal.network.gossip.commands import Ask, Send
from shoal.network.gossip.delegate import State
from shoal.network.gossip.memberlist import MAX_QUESTIONS, MAX_STREAMS
from shoal.network.gossip.messages import Ack, Alive, Dead, IndirectPing, Ping, Suspect, encode
from shoal.network.gossip.pushpull import PushPull
from shoal.network.gossip.streams import PeerError, UserMessage
from tests.simulation.airwaves import KEYS
from tests.unit.network.gossip.fakes import NOW, RING, Node, alive, place, said_of
from tests.unit.network.gossip.test_messages import MESSAGES


def test_users_messages_reach_the_delegate_by_datagram_and_stream() -> None:
    node = Node()
    node.get(b"\x08hello", encode(Ack(1)), b"\x08")
    assert node.list.answer(UserMessage(b"long"), place(2), NOW) == b""
    assert node.told.heard_messages == [b"hello", b"", b"long"]


def test_what_is_not_encrypted_with_our_keys_is_told() -> None:
    node = Node()
    assert not node.list.handle_packet(b"hello", place(2), NOW)
    assert not node.list.handle_packet(encode(alive(2)), place(2), NOW)
    assert node.notes() == ["datagram", "datagram"]


def test_bad_message_does_not_harm_the_others_in_its_packet() -> None:
    node = Node()
    node.get(encode(alive(2)), b"\x63", b"\x04\xff", encode(alive(3)))
    assert set(node.states()) == {"n1", "n2", "n3"}
    assert node.notes() == ["message", "message"]


def test_a_datagram_of_a_thousand_pings_is_answered_a_few_times() -> None:
    """In a compound of compounds. Each was answered, with all that waits to be spread."""
    node = Node(2)
    node.sent()
    for ask in (Ping(7, "n1"), IndirectPing(7, alive(2).address, 7946, "n2", True)):
        packed = framing.compound([framing.compound([encode(ask)] * 63)] * 4)
        node.get(packed)
        node.tick(NOW + 0.01)
        assert len(node.sent(Ack)) + len(node.sent(Ping)) <= MAX_QUESTIONS
    node.get(*[encode(Ping(7, "n1"))] * 20, encode(alive(5)))
    assert "n5" in node.states(), "the rest of it counts"
    assert node.notes().count("questions") == 1
    node.get(framing.compound([framing.compound([encode(Ping(7, "n1"))] * 255)] * 4))
    assert node.sent() == []


def test_push_pull_is_answered_before_it_is_merged() -> None:
    node = Node(2)
    told = pushpull.read(pushpull.write(Node(3).list.table, b"theirs", join=True))
    answer = said_of(node.list.answer(told, place(3), NOW))
    assert isinstance(answer, PushPull)
    assert [known.alive.node for known in answer.nodes] == ["n1", "n2"]
    assert (answer.join, answer.state) == (True, b"state")
    assert node.told.states == [b"theirs"]
    assert set(node.states()) == {"n1", "n2", "n3"}
    assert node.list.knows("10.9.0.3"), "nobody else could have asked from there"


def test_ping_by_stream_is_answered_for_this_name_alone() -> None:
    node = Node()
    assert said_of(node.list.answer(Ping(4, "n1"), place(2), NOW)) == Ack(4)
    assert said_of(node.list.answer(Ping(4, ""), place(2), NOW)) == Ack(4)
    assert node.list.answer(Ping(4, "n2"), place(2), NOW) == b""
    assert node.list.answer(PeerError("'no'"), place(2), NOW) == b""
    assert node.list.answer(Ack(1), place(2), NOW) == b""


def test_join_exchanges_with_each_contact_and_what_fails_is_said() -> None:
    node = Node()
    node.list.call([place(2), place(3)], NOW)
    first, second = node.asked()
    told = said_of(first.data)
    assert isinstance(told, PushPull)
    assert told.join
    assert (first.address, second.address) == ("10.9.0.2", "10.9.0.3")
    node.list.handle_answer(first.number, PushPull(True, (pushpull.Node(alive(2), State.ALIVE),), b"theirs"), NOW)
    node.list.handle_failure(second.number, "refused", NOW)
    assert set(node.states()) == {"n1", "n2"}
    assert node.told.states == [b"theirs"]
    assert node.notes() == ["exchange"]


def test_call_is_one_exchange_and_not_two_at_once() -> None:
    node = Node()
    node.list.call([place(2), place(3)], NOW)
    node.list.call([place(2)], NOW)
    asks = node.asked()
    assert [(ask.address, ask.port) for ask in asks] == [place(2), place(3)]
    node.list.handle_failure(asks[0].number, "refused", NOW)
    node.list.call([place(2)], NOW)
    assert [ask.address for ask in node.asked()] == ["10.9.0.2"]


def test_answer_of_another_kind_is_said() -> None:
    node = Node()
    node.list.call([place(2)], NOW)
    (ask,) = node.asked()
    node.list.handle_answer(ask.number, PeerError("'wrong key'"), NOW)
    node.list.handle_answer(ask.number, Ack(1), NOW)
    node.list.handle_failure(77, "of nobody", NOW)
    assert node.notes() == ["answer", "answer"]


def test_members_exchange_all_they_know_now_and_then() -> None:
    node = Node(2, probe_interval=1000.0)
    node.list.take_commands()
    node.tick(NOW + 30)
    asks = [ask for ask in node.asked() if isinstance(said_of(ask.data), PushPull)]
    assert [ask.address for ask in asks] == ["10.9.0.2"]
    told = said_of(asks[0].data)
    assert isinstance(told, PushPull)
    assert not told.join


def test_failed_member_is_told_of_with_whether_it_had_ever_answered() -> None:
    node = Node(2, 3)
    record = node.list.table.get("n2")
    assert record is not None
    node.list.table.prove(record)
    node.get(Dead(1, "n2", "n3"), Dead(1, "n3", "n2"))
    members = node.told.members
    assert (members.get("n2"), members.get("n3")) != (None, None)
    assert list(members.failed) == ["n2"]
    node.list.take_commands()
    node.tick(NOW + 3)
    assert node.asked() == []  # whom to call is NetworkDB's to say


def test_message_to_a_member_goes_by_datagram_or_stream() -> None:
    node = Node(2)
    node.list.take_commands()
    assert node.list.send("n2", b"x" * node.list.largest_packet, reliable=False)
    (packet,) = node.list.take_commands()
    assert isinstance(packet, Send)
    assert len(packet.data) == 1400
    assert not node.list.send("n2", b"x" * (node.list.largest_packet + 1), reliable=False)
    assert node.list.send("n2", b"x" * 100_000, reliable=True)
    (ask,) = node.asked()
    assert (said_of(ask.data), ask.answered) == (UserMessage(b"x" * 100_000), False)
    assert not node.list.send("n3", b"x", reliable=True)
    assert not node.list.send("n2", bytes(framing.MAX_STREAM), reliable=True)


def test_streams_that_do_not_end_are_limited() -> None:
    node = Node(2)
    assert sum(node.list.send("n2", b"x", reliable=True) for _ in range(1000)) == MAX_STREAMS
    asks = node.asked()
    node.list.handle_done(asks[0].number, NOW)
    node.list.handle_failure(asks[1].number, "refused", NOW)
    assert sum(node.list.send("n2", b"x", reliable=True) for _ in range(10)) == 2


def test_leaving_is_said_until_it_was_heard() -> None:
    node = Node(2, 3)
    assert not node.list.has_left(NOW)
    node.list.leave(NOW)
    node.list.leave(NOW)
    assert not node.list.has_left(NOW)
    now = node.tick(NOW + 0.9)
    assert node.list.has_left(now)
    said = {address for address, message in node.sent(Dead) if message == Dead(1, "n1", "n1")}
    assert said == {"10.9.0.2", "10.9.0.3"}
    node.get(alive(1, 9), Suspect(9, "n1", "n2"), Dead(9, "n1", "n2"))
    assert node.states()["n1"] == State.LEFT


def test_leaving_ends_though_nobody_is_there() -> None:
    node = Node()
    node.list.leave(NOW)
    assert node.list.has_left(NOW)
    deaf = Node(2)
    deaf.list.leave(NOW)
    assert deaf.list.has_left(NOW + 1.0)


def test_keys_change_and_bad_ones_change_nothing() -> None:
    node = Node()
    before = node.list.keyring
    node.list.set_keys(KEYS)
    assert node.list.keyring is before
    with pytest.raises(InvalidArgument):
        node.list.set_keys([])
    assert node.list.keyring is before
    node.list.set_keys((KEYS[1], KEYS[0], KEYS[2]))
    node.list.call([place(2)], NOW)
    (ask,) = node.asked()
    assert isinstance(said_of(ask.data), PushPull)
    assert node.list.number_of_members == 1


def test_time_that_jumps_ahead_makes_no_storm() -> None:
    node = Node(2, 3)
    node.list.take_commands()
    node.list.tick(NOW + 10_000)
    assert len(node.list.take_commands()) < 50
    assert node.list.next_at() > NOW + 10_000 - 1


NAMES = st.sampled_from(["n1", "n2", "n3", "n4", "x" * 128])
NUMBERS = st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 2, 2**32 - 1])
LIKELY = st.one_of(
    MESSAGES,
    st.builds(Suspect, NUMBERS, NAMES, NAMES),
    st.builds(Dead, NUMBERS, NAMES, NAMES),
    st.builds(
        Alive, NUMBERS, NAMES, st.sampled_from([bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2)), b"\xfd" + bytes(15)]),
        st.sampled_from([7946, 1]), st.sampled_from([b"", b"meta"]),
        st.sampled_from([b"\1\5\2\0\0\0", b"", b"\1", b"\3\5\3\0\0\0"]),
    ),
)  # fmt: skip
STEP = st.one_of(
    st.tuples(
        st.just("packet"), st.lists(LIKELY.map(encode) | st.binary(min_size=1, max_size=40), min_size=1, max_size=5)
    ),
    st.tuples(st.just("bytes"), st.binary(max_size=60)),
    st.tuples(st.just("exchange"), st.lists(st.tuples(LIKELY, st.sampled_from(State)), max_size=4)),
    st.tuples(st.just("time"), st.floats(0, 40)),
    st.tuples(st.just("end"), st.sampled_from(["answer", "ack", "fail"])),
    st.tuples(st.just("leave"), st.none()),
)  # fmt: skip


def feed(node: Node, kind: str, value: object, now: float, stream: int) -> float:
    """Let something happen to a node. Returns the time afterwards."""
    if kind == "packet":
        assert isinstance(value, list)
        node.list.handle_packet(RING.encrypt(framing.compound(value)), place(2), now)
    elif kind == "bytes":
        assert isinstance(value, bytes)
        node.list.handle_packet(value, place(3), now)
        node.list.handle_packet(RING.encrypt(value), place(3), now)
    elif kind == "exchange":
        assert isinstance(value, list)
        nodes = tuple(pushpull.Node(said, state) for said, state in value if isinstance(said, Alive))
        node.list.answer(PushPull(False, nodes, b"s"), place(2), now)
    elif kind == "time":
        assert isinstance(value, float)
        return node.tick(now + value, start=now)
    elif kind == "leave":
        node.list.leave(now)
    elif value == "fail":
        node.list.handle_failure(stream, "refused", now)
    else:
        node.list.handle_answer(stream, PushPull(True, (), b"s") if value == "answer" else Ack(1), now)
    return now


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_whatever_comes_nothing_is_raised_and_tables_stay_small(steps: list[tuple[str, object]]) -> None:
    node = Node(2, max_members=5)
    now, stream = NOW, 7
    for kind, value in steps:
        now = feed(node, kind, value, now, stream)
        for command in node.list.take_commands():
            if isinstance(command, Ask):
                stream = command.number
            elif isinstance(command, Send):
                assert len(command.data) <= 1400
        assert len(node.list.table) <= 5
        assert len(node.list.table.order) <= 2 * 5 + 64 + 1
        assert len(node.list._broadcasts) <= 5
        assert "n1" in node.states()


@pytest.mark.slow
def test_flood_of_100_000_forged_members_is_survived() -> None:
    """Somebody with a key can name any number of members. Memory and time stay small, and real members stay."""
    node = Node(2, 3, max_members=1000)
    for number in (2, 3):
        record = node.list.table.get(f"n{number}")
        assert record is not None
        node.list.table.prove(record)
    rng = random.Random(4)
    now = NOW
    for _ in range(20):
        forged = [alive(2, node=f"{rng.getrandbits(48):012x}", address=b"\x0a" + rng.randbytes(3)) for _ in range(5000)]
        nodes = tuple(pushpull.Node(word, State.ALIVE) for word in forged)
        node.list.answer(PushPull(False, nodes, b""), place(2), now)
        now = node.tick(now + 0.1, start=now)
        node.list.take_commands()
    assert len(node.list.table) == 1000
    assert {"n1", "n2", "n3"} <= set(node.states())
