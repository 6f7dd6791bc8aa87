"""Asking servers outside, as a transcript: which server is asked when, and which reply counts."""

from collections.abc import Callable

import pytest
from dnslib import EDNS0, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.names import upstream
from shoal.network.names.questions import Question, read
from shoal.network.names.upstream import Ask, Close, Command, Done, Exchange

ONE, TWO, THREE, FOUR = (f"192.0.2.{last}" for last in range(1, 5))


def asked(name: str = "Example.com", size: int = 0) -> Question:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion(name))
    if size:
        made.add_ar(EDNS0(udp_len=size))
    found = read(bytes(made.pack()))
    assert isinstance(found, Question)
    return found


def drawn() -> Callable[[], int]:
    return iter(range(1000, 2000)).__next__


def exchange(*servers: str, tcp: bool = False, size: int = 0) -> Exchange:
    question = asked(size=size)
    return Exchange(question, servers, tcp=tcp, limit=question.size, draw=drawn())


def replied(number: int, rcode: int = 0, *, question: Question | None = None, tc: int = 0, extra: int = 0) -> bytes:
    section = (question or asked()).section
    flags = 0x8180 | rcode | tc << 9
    return number.to_bytes(2, "big") + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + section + bytes(extra)


def ask(number: int, server: str, *, tcp: bool = False, size: int = 0) -> Ask:
    return Ask(number, server, tcp, (999 + number).to_bytes(2, "big") + asked(size=size).message[2:])


def test_the_first_server_is_asked_with_an_id_of_its_own_and_its_answer_has_the_clients() -> None:
    one = exchange(ONE, TWO)
    assert one.start(0.0) == [ask(1, ONE)]
    assert one.received(1, replied(1000), 0.1) == [Done(replied(7))]
    assert one.received(1, replied(1000), 0.2) == []  # late
    assert one.tick(99.0) == []


def test_the_next_server_is_asked_when_one_is_silent_and_both_are_listened_to() -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    assert one.look_again_at == upstream.PATIENCE
    assert one.tick(1.0) == []
    assert one.tick(1.5) == [ask(2, TWO)]
    assert one.received(1, replied(1000), 1.6) == [Done(replied(7))]


def test_nobody_answers() -> None:
    one = exchange(ONE, ONE, TWO, THREE, FOUR)
    one.start(0.0)
    assert one.tick(1.5) == [ask(2, TWO)]
    assert one.tick(3.0) == [ask(3, THREE)]
    assert one.tick(6.9) == []
    assert one.tick(7.0) == [Done(None)]  # never a fourth


@pytest.mark.parametrize("rcode", [2, 5])
def test_a_server_that_fails_or_refuses_passes_the_question_on(rcode: int) -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    assert one.received(1, replied(1000, rcode), 0.1) == [Close(1), ask(2, TWO)]
    assert one.received(2, replied(1001, rcode), 0.2) == [Close(2), Done(None)]


@pytest.mark.parametrize("rcode", [0, 1, 3, 4])
def test_every_other_answer_is_one(rcode: int) -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    assert one.received(1, replied(1000, rcode), 0.1) == [Done(replied(7, rcode))]


def test_a_server_that_cannot_be_reached_is_passed_over() -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    assert one.failed(1, 0.1) == [Close(1), ask(2, TWO)]
    assert one.failed(1, 0.2) == []
    assert one.failed(2, 0.2) == [Close(2), Done(None)]


def test_a_failure_waits_for_those_asked_before() -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    one.tick(1.5)
    assert one.failed(2, 1.6) == [Close(2)]
    assert one.received(1, replied(1000), 1.7) == [Done(replied(7))]


def test_a_lie_is_no_answer() -> None:
    one = exchange(ONE)
    one.start(0.0)
    other = asked("example.org")
    for lie in (
        replied(1001),
        replied(1000, question=other),
        replied(1000)[:20],
        replied(1000)[:2] + b"\x01\x00" + replied(1000)[4:],  # a question
        replied(1000)[:2] + b"\x89\x80" + replied(1000)[4:],  # another opcode
        replied(1000)[:4] + b"\0\2" + replied(1000)[6:],
        replied(1000)[:4] + b"\0\0" + replied(1000)[6:],
        replied(1000)[:-4] + b"\0\x1c\0\1",
        b"",
    ):
        assert one.received(1, lie, 0.1) == []
    assert one.received(1, replied(1000, question=asked("eXAMPLE.COM")), 0.1)[-1] == Done(
        replied(7, question=asked("eXAMPLE.COM"))
    )


def test_a_server_that_cannot_read_the_question_need_not_repeat_it() -> None:
    one = exchange(ONE)
    one.start(0.0)
    refusal = replied(1000, 1)[:4] + bytes(8)
    assert one.received(1, refusal, 0.1) == [Done(b"\0\7" + refusal[2:])]


def test_who_guesses_ends_the_attempt() -> None:
    one = exchange(ONE, TWO)
    one.start(0.0)
    for guess in range(upstream.MOST_WRONG - 1):
        assert one.received(1, replied(guess), 0.1) == []
    assert one.received(1, replied(99), 0.1) == [Close(1), ask(2, TWO)]
    assert one.received(1, replied(1000), 0.1) == []


def test_a_small_asker_is_told_that_a_reply_was_cut_off() -> None:
    one = exchange(ONE)
    one.start(0.0)
    assert one.received(1, replied(1000, tc=1), 0.1) == [Done(replied(7, tc=1))]


def test_a_reply_that_a_server_cut_off_is_fetched_by_tcp_for_who_takes_more() -> None:
    one = exchange(ONE, TWO, size=4096)
    one.start(0.0)
    assert one.received(1, replied(1000, tc=1), 0.1) == [Close(1), ask(2, ONE, tcp=True, size=4096)]
    assert one.received(2, replied(1001, extra=1000), 0.2) == [Done(replied(7, extra=1000))]


def test_what_was_cut_off_is_better_than_nothing() -> None:
    one = exchange(ONE, size=4096)
    one.start(0.0)
    one.received(1, replied(1000, tc=1), 0.1)
    assert one.received(2, replied(1001, extra=5000), 0.2) == [Done(replied(7, tc=1))]
    one = exchange(ONE, size=4096)
    one.start(0.0)
    one.received(1, replied(1000, tc=1), 0.1)
    assert one.failed(2, 0.2) == [Close(2), Done(replied(7, tc=1))]


def test_a_question_by_tcp_is_asked_by_tcp() -> None:
    one = exchange(ONE, TWO, tcp=True)
    assert one.start(0.0) == [ask(1, ONE, tcp=True)]
    assert one.tick(1.5) == [ask(2, TWO, tcp=True)]
    assert one.received(2, replied(1001, tc=1), 1.6) == [Done(replied(7, tc=1))]


events = st.one_of(
    st.tuples(st.just("received"), st.integers(0, 5), st.binary(max_size=40)),
    st.tuples(st.just("reply"), st.integers(1, 4), st.tuples(st.integers(0, 15), st.integers(0, 1))),
    st.tuples(st.just("failed"), st.integers(0, 5), st.none()),
    st.tuples(st.just("tick"), st.floats(0, 3), st.none()),
)


@given(st.integers(0, 4), st.booleans(), st.sampled_from([0, 4096]), st.lists(events, max_size=30))
def test_any_events_end_in_one_reply(
    servers: int, tcp: bool, size: int, history: list[tuple[str, float, object]]
) -> None:
    one = exchange(*[ONE, TWO, THREE, FOUR][:servers], tcp=tcp, size=size)
    now = 0.0
    commands: list[Command] = one.start(now)
    for kind, at, what in history:
        if kind == "received":
            assert isinstance(what, bytes)
            commands += one.received(int(at), what, now)
        elif kind == "reply":
            assert isinstance(what, tuple)
            commands += one.received(int(at), replied(999 + int(at), what[0], tc=what[1]), now)
        elif kind == "failed":
            commands += one.failed(int(at), now)
        else:
            now += at
            commands += one.tick(now)
    for _ in range(5):
        now = max(now, one.look_again_at)
        commands += one.tick(now)
    assert [isinstance(command, Done) for command in commands].count(True) == 1
    assert isinstance(commands[-1], Done)
    opened = {command.number for command in commands if isinstance(command, Ask)}
    assert {command.number for command in commands if isinstance(command, Close)} <= opened
    assert now <= upstream.MAX_SERVERS * upstream.LAST_PATIENCE + sum(at for kind, at, _ in history if kind == "tick")
