"""Encryption, compared with bytes of the real memberlist, and with any other bytes."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip.cipher import MAX_KEYS, OVERHEAD, Keyring

KEY, OTHER = b"0123456789abcdef", b"fedcba9876543210"
RING = Keyring([KEY], os.urandom)


def test_bytes_of_the_real_one() -> None:
    data = bytes.fromhex("01117499561c24ebcd35af042b817ae4760e678d4b4f56294087f935804ea06c1888")
    assert RING.decrypt(data) == b"hello"
    again = Keyring([KEY], lambda count: data[1 : 1 + count])
    assert again.encrypt(b"hello") == data


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_is_encrypted_is_decrypted(plain: bytes, aad: bytes) -> None:
    data = RING.encrypt(plain, aad)
    assert len(data) == len(plain) + OVERHEAD
    assert RING.decrypt(data, aad) == plain
    with pytest.raises(InvalidArgument):
        RING.decrypt(data, aad + b"x")


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        RING.decrypt(data)


def test_first_key_encrypts_and_each_decrypts() -> None:
    both = Keyring([KEY, OTHER], os.urandom)
    assert Keyring([KEY], os.urandom).decrypt(both.encrypt(b"x")) == b"x"
    assert both.decrypt(Keyring([OTHER], os.urandom).encrypt(b"x")) == b"x"
    with pytest.raises(InvalidArgument, match="no key"):
        Keyring([OTHER], os.urandom).decrypt(both.encrypt(b"x"))


@pytest.mark.parametrize("plain", [b"", b"hello", b"x" * 16])
def test_padded_form_is_read(plain: bytes) -> None:
    count = 16 - len(plain) % 16
    nonce = bytes(12)
    data = b"\0" + nonce + AESGCM(KEY).encrypt(nonce, plain + bytes((count,)) * count, b"")
    assert RING.decrypt(data) == plain


@pytest.mark.parametrize("padded", [b"", b"\0" * 16, b"x" * 15 + b"\x11", b"a\2\1\2"])
def test_wrong_padding_is_refused(padded: bytes) -> None:
    nonce = bytes(12)
    with pytest.raises(InvalidArgument):
        RING.decrypt(b"\0" + nonce + AESGCM(KEY).encrypt(nonce, padded, b""))


def test_unknown_way_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not known"):
        RING.decrypt(b"\2" + RING.encrypt(b"x")[1:])


@pytest.mark.parametrize("keys", [[], [b"short"], [bytes((number,)) * 16 for number in range(MAX_KEYS + 1)]])
def test_keyring_of_no_or_bad_or_too_many_keys_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(InvalidArgument):
        Keyring(keys, os.urandom)
