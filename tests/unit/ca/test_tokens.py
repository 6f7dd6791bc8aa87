import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.ca.tokens import (
    new_kek,
    new_token,
    parse_token,
    parse_unlock_key,
    root_digest,
    same_token,
    unlock_key,
)
from shoal.errors import InvalidArgument

ROOT = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


def test_a_token_has_swarms_shape() -> None:
    assert re.fullmatch(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", new_token(ROOT))
    assert re.fullmatch(r"SWMTKN-2-1-[0-9a-z]{50}-[0-9a-z]{25}", new_token(ROOT, fips=True))


@given(st.binary(max_size=64), st.booleans())
def test_a_token_names_the_root_it_was_made_for(root: bytes, fips: bool) -> None:
    token = parse_token(new_token(root, fips=fips))
    assert token.digest == hashlib.sha256(root).hexdigest() == root_digest(root)
    assert token.fips is fips


def test_a_token_of_docker_is_read() -> None:
    # Printed in Docker's own documentation of `docker swarm join-token`.
    text = "SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx"
    assert parse_token(text).secret == "1awxwuwd3z9j1z3puu7rcgdbx"


def test_tokens_of_one_root_differ_in_their_secret_alone() -> None:
    one, two = parse_token(new_token(ROOT)), parse_token(new_token(ROOT))
    assert one.digest == two.digest
    assert one.secret != two.secret


def test_the_secret_is_not_shown() -> None:
    token = parse_token(new_token(ROOT))
    assert token.secret not in repr(token)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text.replace("SWMTKN-1", "SWMTKN-3"),
        lambda text: text.replace("SWMTKN-1", "SWMTKN-2"),
        lambda text: text.replace("SWMTKN-1", "SWMTKN-2-7"),
        lambda text: text.replace("SWMTKN", "swmtkn"),
        lambda text: text.upper(),
        lambda text: text.replace("-", "_"),
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "٣",  # a digit of another script
        lambda text: "SWMTKN-1-" + "z" * 50 + text[-26:],  # more than 256 bits
        lambda text: "",
    ],
)
def test_a_spoilt_token_is_refused(spoil: Callable[[str], str]) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid join token$"):
        parse_token(spoil(new_token(ROOT)))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_token(text)


@given(st.integers(0, 84), st.characters())
def test_one_changed_character_changes_what_is_read(place: int, character: str) -> None:
    text = new_token(ROOT)
    changed = text[:place] + character + text[place + 1 :]
    try:
        assert (parse_token(changed) == parse_token(text)) == (changed == text)
    except InvalidArgument:
        assert changed != text


def test_tokens_are_compared_whole_and_nothing_equals_nothing() -> None:
    token = new_token(ROOT)
    assert same_token(token, token)
    assert not same_token(token[:-1], token)
    assert not same_token("ü", token)
    assert not same_token("", "")


def test_an_unlock_key_is_read_as_it_was_written() -> None:
    kek = new_kek()
    text = unlock_key(kek)
    assert re.fullmatch(r"SWMKEY-1-[A-Za-z0-9+/]{43}", text)
    assert parse_unlock_key(text) == kek


@given(st.text())
@example("SWMKEY-2-AAAA")
@example("swmkey-1-AAAA")
def test_what_is_no_unlock_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid key string"):
        parse_unlock_key(text)


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA==", "AA-_", "A A", "ü", "*"])
def test_an_unlock_key_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid key string"):
        parse_unlock_key(f"SWMKEY-1-{text}")


@pytest.mark.parametrize(("text", "kek"), [("", b""), ("AAAA", bytes(3)), ("AB", b"\0"), ("AA\r\nAA", bytes(3))])
def test_an_unlock_key_of_another_length_is_read(text: str, kek: bytes) -> None:
    """Such a key opens nothing. Docker's answer to that is another one than to a malformed key."""
    assert parse_unlock_key(f"SWMKEY-1-{text}") == kek
