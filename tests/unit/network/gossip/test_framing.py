"""Datagrams and streams, with bytes of the real memberlist and with hostile ones."""

import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing
from shoal.network.gossip.cipher import Keyring
from shoal.network.gossip.messages import Kind
from shoal.network.gossip.msgpack import pack_map
from tests.unit.network.gossip.test_lzw import compress

RING = Keyring([b"0123456789abcdef"], os.urandom)
STREAM = bytes.fromhex("0a000000220123396e50968ecea719996df7826675652291bc528bcedf8cadbe18661efd9c24bf")


def compressed(message: bytes, **other: int | bytes) -> bytes:
    fields: dict[str, int | bytes] = {"Algo": 0, "Buf": compress(message), **other}
    return bytes((Kind.COMPRESS,)) + pack_map(fields)


def test_bytes_of_the_real_one() -> None:
    assert framing.compound([b"abc", b"defgh"]).hex() == "0702000300056162636465666768"
    assert framing.unpack(bytes.fromhex("0702000300056162636465666768")) == [b"abc", b"defgh"]
    packed = bytes.fromhex("0982a4416c676f00a3427566ba00a93c1152e48914274fa808246810a1c281050f265c18d16140")
    assert framing.unpack(packed) == [b"TOBEORNOT" * 4]
    assert compressed(b"TOBEORNOT" * 4) == packed
    assert framing.open_stream(RING, STREAM[:5], STREAM[5:]) == b"hello"
    assert framing.user_stream(b"")[:1] == b"\x08"
    assert framing.user_stream(bytes(70000)).startswith(bytes.fromhex("0881aa557365724d73674c656ece00011170"))


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda part: part[0] not in (7, 9)), min_size=1, max_size=255)
)
def test_compound_is_taken_apart_again(parts: list[bytes]) -> None:
    assert framing.unpack(framing.compound(parts)) == parts


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x07", b"\x07\xff", b"\x09\x82", b"\x0c"]))
def test_any_message_is_taken_apart_or_refused(data: bytes, start: bytes) -> None:
    try:
        parts = framing.unpack(start + data)
    except InvalidArgument:
        return
    assert len(parts) <= framing.MAX_PARTS
    assert sum(map(len, parts)) <= framing.MAX_DATAGRAM


def test_tail_that_is_cut_off_is_left_out() -> None:
    assert framing.unpack(framing.compound([b"abc", b"defgh"])[:-1]) == [b"abc"]


@pytest.mark.parametrize("message", [b"", b"\x07", b"\x07\x02\0\1", b"\x09", compressed(b"x", Algo=1)])
def test_message_that_cannot_be_taken_apart_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidArgument):
        framing.unpack(message)


def test_nesting_ends() -> None:
    message = b"x"
    for _ in range(framing.MAX_LAYERS):
        message = framing.compound([message, b"y"])
    assert len(framing.unpack(message)) == framing.MAX_LAYERS + 1
    with pytest.raises(InvalidArgument, match="deep"):
        framing.unpack(framing.compound([message, b"y"]))


def test_many_bombs_in_one_packet_share_one_limit() -> None:
    bomb = compressed(b"\0" * 60_000)
    with pytest.raises(InvalidArgument, match="longer"):
        framing.unpack(framing.compound([bomb] * 20))


def test_too_many_messages_are_refused() -> None:
    inner = framing.compound([b"x"] * 255)
    with pytest.raises(InvalidArgument, match="too many"):
        framing.unpack(framing.compound([inner] * 5))


def test_checksum_is_checked_where_there_is_one() -> None:
    good = b"\x0c" + struct.pack(">I", zlib.crc32(b"hello")) + b"hello"
    assert framing.open_datagram(RING, RING.encrypt(good)) == b"hello"
    assert framing.open_datagram(RING, framing.seal_datagram(RING, b"hello")) == b"hello"
    for bad in (good[:-1], b"\x0c\0"):
        with pytest.raises(InvalidArgument, match="checksum"):
            framing.open_datagram(RING, RING.encrypt(bad))


def test_label_and_plain_text_are_refused() -> None:
    for data in (b"\xf4\x01x" + RING.encrypt(b"hello"), b"hello", b"", b"x" * 70_000):
        with pytest.raises(InvalidArgument):
            framing.open_datagram(RING, data)


@given(st.binary(max_size=2000))
def test_stream_is_opened_again(message: bytes) -> None:
    data = framing.seal_stream(RING, b"x" + message)
    header, body = data[: framing.HEADER], data[framing.HEADER :]
    assert framing.stream_length(header) == len(body)
    assert framing.open_stream(RING, header, body) == b"x" + message


def test_compressed_stream_is_opened() -> None:
    data = framing.seal_stream(RING, compressed(b"hello" * 100))
    assert framing.open_stream(RING, data[:5], data[5:]) == b"hello" * 100


@pytest.mark.parametrize("header", ["", "0a0000", "0a00000000", "0a0000001d", "0affffffff", "0a00800001", "0600000040"])
def test_header_is_checked_before_anything_is_read(header: str) -> None:
    with pytest.raises(InvalidArgument):
        framing.stream_length(bytes.fromhex(header))


def test_users_message_by_tcp() -> None:
    assert framing.read_user_stream(framing.user_stream(b"hello")) == b"hello"
    for bad in (framing.user_stream(b"hello")[:-1], b"\x08", b"\x08" + pack_map({"UserMsgLen": b"x"})):
        with pytest.raises(InvalidArgument):
            framing.read_user_stream(bad)


def test_error_of_a_peer_is_short_and_printable() -> None:
    assert framing.error_text(b"\x0d" + pack_map({"Error": b"no\n\x1b[1m"})) == r"'no\n\x1b[1m'"
    assert len(framing.error_text(b"\x0d" + pack_map({"Error": b"x" * 5000}))) < 300
    assert framing.error_text(b"\x0d" + pack_map({})) == "an error without text"
