import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.engine.detach_keys import DEFAULT, DetachFilter, parse
from shoal.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", b""), ("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"), ("a,DEL,b", b"a\x7fb")],
)
def test_keys_are_read(text: str, keys: bytes) -> None:
    assert parse(text, "%s") == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-P", "abc", "a,,b", ","])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not these: "):
        parse(text, "not these: %s")


def test_keys_are_found_across_pieces() -> None:
    found = DetachFilter(b"")
    assert found.feed(b"ab\x10") == (b"ab", False)
    assert found.feed(b"\x11cd") == (b"", True)


def test_beginning_that_goes_on_otherwise_is_passed_on() -> None:
    found = DetachFilter(DEFAULT)
    assert found.feed(b"\x10") == (b"", False)
    assert found.feed(b"x") == (b"\x10x", False)
    assert found.feed(b"\x10\x10\x11") == (b"\x10", True)


@given(st.lists(st.binary(max_size=6)), st.binary(min_size=1, max_size=3))
def test_nothing_is_lost_or_made_up(pieces: list[bytes], keys: bytes) -> None:
    found, passed = DetachFilter(keys), b""
    for piece in pieces:
        data, detached = found.feed(piece)
        passed += data
        if detached:
            assert (passed + keys) in b"".join(pieces)
            return
    assert b"".join(pieces).startswith(passed)
    assert len(b"".join(pieces)) - len(passed) < len(keys)
