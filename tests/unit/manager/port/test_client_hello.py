import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.manager.port.client_hello import MAX_HELLO_BYTES, offered_protocols


def hello(*protocols: str, name: str = "swarm-manager") -> bytes:
    """Return OpenSSL's first message."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(protocols)
    out = ssl.MemoryBIO()
    wire = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        wire.do_handshake()
    return out.read()


def test_a_hello_offers_what_it_names() -> None:
    assert offered_protocols(hello("shoal-raft")) == [b"shoal-raft"]
    assert offered_protocols(hello("h2", "shoal-raft")) == [b"h2", b"shoal-raft"]
    assert not offered_protocols(hello())


def test_what_follows_a_hello_is_not_looked_at() -> None:
    assert offered_protocols(hello("shoal-raft") + b"\xff" * 5000) == [b"shoal-raft"]


def test_a_hello_that_is_cut_short_offers_nothing() -> None:
    whole = hello("shoal-raft")
    assert not any(offered_protocols(whole[:size]) for size in range(len(whole)))


def test_a_hello_that_is_too_large_offers_nothing() -> None:
    assert not offered_protocols(hello(*(f"{number:0200}" for number in range(MAX_HELLO_BYTES // 200)), "shoal-raft"))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_offer_something_or_nothing(data: bytes) -> None:
    assert all(isinstance(name, bytes) for name in offered_protocols(data))


@given(st.data())
def test_a_hello_with_a_byte_changed_raises_nothing(data: st.DataObject) -> None:
    whole = bytearray(hello("shoal-raft"))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert all(isinstance(name, bytes) for name in offered_protocols(bytes(whole)))
