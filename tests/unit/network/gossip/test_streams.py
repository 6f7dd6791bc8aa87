"""What streams say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, pushpull
from shoal.network.gossip.messages import Ack, Ping, encode
from shoal.network.gossip.msgpack import pack_map
from shoal.network.gossip.streams import PeerError, Said, UserMessage, read
from tests.unit.network.gossip.fakes import RING, alive
from tests.unit.network.gossip.test_framing import compressed


def said(message: bytes) -> Said:
    data = framing.seal_stream(RING, message)
    return read(RING, data[:5], data[5:])


def test_each_kind_is_read() -> None:
    assert said(encode(Ping(1, "a"))) == Ping(1, "a")
    assert said(encode(Ack(2))) == Ack(2)
    assert said(framing.user_stream(b"hello")) == UserMessage(b"hello")
    assert said(b"\x0d" + pack_map({"Error": b"no"})) == PeerError("'no'")
    assert said(compressed(pushpull.write([], b"state", join=True))) == pushpull.PushPull(True, (), b"state")


@pytest.mark.parametrize("message", [encode(alive(1)), b"\x07\x01", compressed(b""), compressed(compressed(b"x"))])
def test_other_kinds_do_not_come_by_tcp(message: bytes) -> None:
    with pytest.raises(InvalidArgument):
        said(message)


@given(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"\x06\x83", b"\x08\x81", b"\x0d\x81", b"\x00"]))
def test_any_message_is_read_or_refused(data: bytes, start: bytes) -> None:
    try:
        said(start + data)
    except InvalidArgument:
        pass
