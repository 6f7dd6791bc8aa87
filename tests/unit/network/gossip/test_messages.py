"""memberlist's messages, compared with bytes of the real one (gossip.md section 6), and with any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip.members import VERSIONS
from shoal.network.gossip.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Kind,
    Message,
    Nack,
    Ping,
    Suspect,
    decode,
    encode,
)
from shoal.network.gossip.msgpack import pack_map

A, B = "0123456789ab", "ba9876543210"
ADDRESS = bytes((192, 168, 1, 10))
VECTORS = [
    (
        Ping(300, A, ADDRESS, 7946, B),
        "0085a44e6f6465ac303132333435363738396162a55365714e6fcd012caa536f7572636541646472a4c0a8010aaa536f757263654e6f6465"
        "ac626139383736353433323130aa536f75726365506f7274cd1f0a",
    ),
    (Ack(300), "0282a75061796c6f6164c0a55365714e6fcd012c"),
    (
        Suspect(2, A, B),
        "0383a446726f6dac626139383736353433323130ab496e6361726e6174696f6e02a44e6f6465ac303132333435363738396162",
    ),
    (
        Alive(1, A, ADDRESS, 7946, b"", VERSIONS),
        "0486a441646472a4c0a8010aab496e6361726e6174696f6e01a44d657461a0a44e6f6465ac303132333435363738396162a4506f7274cd1f"
        "0aa356736ea6010502000000",
    ),
]  # fmt: skip
NAMES = st.text(min_size=1, max_size=30)
U32, U16 = st.integers(0, 2**32 - 1), st.integers(1, 2**16 - 1)
ADDRESSES = st.binary(min_size=3, max_size=3).map(lambda rest: b"\x0a" + rest)
MESSAGES = st.one_of(
    st.builds(Ping, U32, NAMES, ADDRESSES, U16, NAMES),
    st.builds(IndirectPing, U32, ADDRESSES, U16, NAMES, st.booleans(), ADDRESSES, U16, NAMES),
    st.builds(Ack, U32),
    st.builds(Nack, U32),
    st.builds(Suspect, U32, NAMES, NAMES),
    st.builds(Dead, U32, NAMES, NAMES),
    st.builds(Alive, U32, NAMES, ADDRESSES, U16, st.binary(max_size=100), st.just(VERSIONS)),
)


@pytest.mark.parametrize(("message", "data"), VECTORS, ids=lambda value: type(value).__name__)
def test_bytes_are_the_real_ones(message: Message, data: str) -> None:
    assert encode(message).hex() == data
    assert decode(bytes.fromhex(data)) == message


@given(MESSAGES)
def test_what_is_written_is_read_again(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda data: b"\x04\x86" + data)))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except InvalidArgument:
        pass


@given(MESSAGES, st.integers(0, 400), st.integers(0, 255))
def test_damaged_messages_are_read_or_refused(message: Message, at: int, value: int) -> None:
    data = bytearray(encode(message))
    data[at % len(data)] = value
    for cut in (bytes(data), bytes(data[: at % len(data)])):
        try:
            decode(cut)
        except InvalidArgument:
            pass


def test_empty_source_is_not_sent() -> None:
    assert b"Source" not in encode(Ping(1, A))
    assert decode(encode(Ping(1, A))) == Ping(1, A)


def test_mapped_address_is_made_four_bytes() -> None:
    """Peers compare bytes, so the other form would be another address to them."""
    said = decode(encode(Alive(1, A, bytes(10) + b"\xff\xff" + ADDRESS, 7946, b"", VERSIONS)))
    assert isinstance(said, Alive)
    assert said.address == ADDRESS


def test_no_port_is_the_usual_one() -> None:
    said = decode(encode(Alive(1, A, ADDRESS, 0, b"", VERSIONS)))
    assert isinstance(said, Alive)
    assert said.port == 7946


@pytest.mark.parametrize(
    "address", [b"", b"\0\0\0\0", bytes(16), b"\xe0\0\0\1", b"\xff\xff\xff\xff", b"\xff\x02" + bytes(14), b"abc"]
)
def test_address_of_no_machine_is_refused(address: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode(encode(Alive(1, A, address, 7946, b"", VERSIONS)))


@pytest.mark.parametrize(
    "fields",
    [
        {"Node": b""}, {"Node": b"\xff"}, {"Node": b"n" * 129}, {"Node": 7}, {"Incarnation": 2**32},
        {"Incarnation": b"1"}, {"Incarnation": True}, {"Meta": b"m" * 513}, {"Port": 65536},
    ],
)  # fmt: skip
def test_field_that_makes_no_sense_is_refused(fields: dict[str, int | bytes]) -> None:
    good = Alive(1, A, ADDRESS, 7946, b"", VERSIONS).fields()
    with pytest.raises(InvalidArgument):
        decode(bytes((Kind.ALIVE,)) + pack_map(good | fields))
