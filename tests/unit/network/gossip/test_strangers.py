"""How much work strangers may make."""

from shoal.network.gossip.strangers import (
    MAX_ADDRESSES,
    MAX_ALL_FAILURES,
    MAX_BYTES,
    MAX_BYTES_OF_STRANGERS,
    MAX_FAILURES,
    MAX_STREAMS,
    MAX_STREAMS_OF_ONE,
    MAX_STREAMS_OF_ONE_STRANGER,
    MAX_STREAMS_OF_STRANGERS,
    Strangers,
    Streams,
)


def test_address_that_fails_too_often_is_not_looked_at_until_the_next_second() -> None:
    strangers = Strangers()
    for _ in range(MAX_FAILURES):
        assert strangers.may_send("a", 10.1)
        strangers.failed("a", 10.1)
    assert not strangers.may_send("a", 10.9)
    assert strangers.may_send("b", 10.9)
    assert strangers.may_send("a", 11.0)


def test_forged_addresses_share_one_limit_and_little_memory() -> None:
    strangers = Strangers()
    looked_at = 0
    for number in range(100_000):
        if strangers.may_send(str(number), 10.5):
            looked_at += 1
            strangers.failed(str(number), 10.5)
    assert looked_at == MAX_ALL_FAILURES <= MAX_ADDRESSES


def test_streams_are_limited_for_one_for_strangers_and_for_all() -> None:
    streams = Streams()
    assert sum(streams.open("a", known=True) for _ in range(100)) == MAX_STREAMS_OF_ONE
    assert sum(streams.open("s0", known=False) for _ in range(100)) == MAX_STREAMS_OF_ONE_STRANGER
    assert sum(streams.open(f"s{number}", known=False) for number in range(1, 100)) == (
        MAX_STREAMS_OF_STRANGERS - MAX_STREAMS_OF_ONE_STRANGER
    )
    assert sum(streams.open(f"m{number}", known=True) for number in range(1000)) == (
        MAX_STREAMS - MAX_STREAMS_OF_ONE - MAX_STREAMS_OF_STRANGERS
    )
    streams.close("s1", known=False)
    assert len(streams) == MAX_STREAMS - 1
    assert streams.open("other", known=False)
    assert not streams.open("m5000", known=True)


def test_bytes_in_memory_are_limited() -> None:
    streams = Streams()
    assert streams.take(MAX_BYTES, known=True)
    assert not streams.take(1, known=True)
    streams.give_back(MAX_BYTES, known=True)
    assert streams.take(1, known=True)


def test_bytes_that_strangers_promise_are_not_the_members() -> None:
    streams = Streams()
    assert streams.take(MAX_BYTES_OF_STRANGERS, known=False)
    assert not streams.take(1, known=False)
    assert streams.take(MAX_BYTES, known=True)
