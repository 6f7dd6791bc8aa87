"""Packets never exceed their limit, and only what is in them counts as sent (known fault 6)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.gossip import framing
from shoal.network.gossip.broadcasts import Broadcasts
from shoal.network.gossip.commands import Ask, Note, Send
from shoal.network.gossip.config import Config
from shoal.network.gossip.outbox import MAX_WAITING, Outbox
from tests.simulation.airwaves import Listening
from tests.unit.network.gossip.fakes import NOW, RING

BUDGET = 600


class Greedy(Listening):
    """A delegate that gives all it has, whether there is room or not."""

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        given, self.rumours = list(self.rumours), {}
        return given


def outbox(delegate: Listening, *queued: bytes) -> Outbox:
    broadcasts = Broadcasts()
    for number, message in enumerate(queued):
        broadcasts.queue(str(number), message)
    config = Config(name="n1", address="10.9.0.1", packet_budget=BUDGET)
    made = Outbox(config, RING, delegate, broadcasts)
    made.members = 9
    return made


def parts(commands: list[object]) -> list[bytes]:
    found = []
    for command in commands:
        assert isinstance(command, Send)
        assert len(command.data) <= BUDGET
        found += framing.unpack(framing.open_datagram(RING, command.data))
    return found


MESSAGE = st.binary(min_size=1, max_size=120).map(lambda rest: b"\x04" + rest)


@given(st.lists(MESSAGE, max_size=12, unique=True), st.lists(MESSAGE, max_size=12, unique=True), MESSAGE)
def test_packet_is_filled_and_never_too_long(members: list[bytes], rumours: list[bytes], first: bytes) -> None:
    delegate = Listening(rumours=dict.fromkeys(rumours, 1))
    made = outbox(delegate, *members)
    made.send("10.9.0.2", 7946, first, NOW)
    commands = made.take()
    assert len(commands) == 1
    sent = parts(list(commands))
    assert sent[0] == first
    users = [part[1:] for part in sent if part[0] == 8]
    assert sorted(users) == sorted(rumour for rumour in rumours if rumour not in delegate.rumours)
    assert set(sent[1 : len(sent) - len(users)]) <= set(members)


@given(st.lists(st.binary(min_size=1, max_size=500), max_size=400, unique=True))
def test_delegate_that_gives_too_much_costs_packets_and_loses_nothing(rumours: list[bytes]) -> None:
    made = outbox(Greedy(rumours=dict.fromkeys(rumours, 1)))
    made.send("10.9.0.2", 7946, b"\x04x", NOW)
    assert [part[1:] for part in parts(list(made.take()))[1:]] == rumours


def test_more_than_255_small_messages_are_several_packets() -> None:
    rumours = [b"%c" % number for number in range(150)]
    made = outbox(Greedy(rumours=dict.fromkeys(rumours, 1)))
    assert made.gossip("10.9.0.2", 7946, NOW)
    assert len(parts(list(made.take()))) == 150


def test_nothing_to_say_is_no_packet() -> None:
    made = outbox(Listening())
    assert not made.gossip("10.9.0.2", 7946, NOW)
    assert made.take() == []


def test_streams_are_numbered_and_sealed() -> None:
    made = outbox(Listening())
    numbers = [made.ask("10.9.0.2", 7946, b"\x08x", answered=False, timeout=1.0) for _ in range(2)]
    asks = made.take()
    assert [ask.number for ask in asks if isinstance(ask, Ask)] == numbers == [1, 2]
    assert isinstance(asks[0], Ask)
    assert framing.open_stream(RING, asks[0].data[:5], asks[0].data[5:]) == b"\x08x"


def test_commands_that_nobody_takes_are_limited() -> None:
    made = outbox(Listening())
    for _ in range(MAX_WAITING + random.Random(1).randrange(5, 10)):
        made.note("kind", "text")
    assert made.take() == [Note("kind", "text")] * MAX_WAITING
