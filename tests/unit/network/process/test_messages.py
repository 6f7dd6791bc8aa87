"""Messages between shoald and the network process: back and forth, and bytes that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.process.messages import (
    KINDS,
    LENGTH,
    MAX_BYTES,
    SHOW,
    Message,
    decode,
    encode,
    fields,
    length,
    small,
)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=100))
def test_a_message_is_read_as_it_was_sent(kind: str, body: bytes) -> None:
    sent = encode(Message(kind, body))
    assert length(sent[:4]) == len(sent) - 4
    assert decode(sent[4:]) == Message(kind, body)


@given(st.binary())
def test_other_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        message = decode(text)
    except InvalidArgument:
        return
    assert message.kind in KINDS


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidArgument, match="would have"):
        length(LENGTH.pack(MAX_BYTES + 1))


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        fields(Message(SHOW, body))


def test_a_small_message_has_its_fields() -> None:
    assert fields(small(SHOW, network="n")) == {"network": "n"}
