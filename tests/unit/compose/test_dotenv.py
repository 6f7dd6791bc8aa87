import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.dotenv import MAX_BYTES, parse, raw
from shoal.compose.errors import ComposeError


def read(text: str, **surroundings: str) -> dict[str, str]:
    return parse(text.encode(), "f.env", surroundings)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=plain # comment", "plain"),
        ("A=a#b", "a#b"),
        ("A: yaml", "yaml"),
        ("export A=x", "x"),
        ("  A  =  spaced   ", "spaced"),
        ("A=", ""),
        ("A='single $B # \\n'", "single $B # \\n"),
        ('A="double $B \\t \\"q\\" \\$B"', 'double b \t "q" $B'),
        ('A="two\nlines"', "two\nlines"),
        ("A=$B-${C:-c}", "b-c"),
        ("\ufeffA=bom", "bom"),
        ("# only\n\nA=x", "x"),
        ("A=one\nA=two", "two"),
        ("A='it\\'s'", "it's"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert read(text, B="b") == {"A": value}


def test_a_name_alone_has_the_value_of_the_surroundings() -> None:
    assert read("A\nB\n", A="outside") == {"A": "outside"}


def test_surroundings_count_more_than_the_file_and_the_file_more_than_earlier_ones() -> None:
    assert parse(b"B=2\nD=$B-$A-$C", "f", {"C": "out"}, {"A": "1", "B": "1", "C": "x"}) == {
        **{"A": "1", "B": "2", "C": "x", "D": "2-1-out"},
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("A=1\nB C=2", "f.env:2: B C: a variable's name cannot have a space"),
        ("A=1\n\nB!=2", "f.env:3: B!: a variable's name cannot have '!'"),
        ('A=1\nB="open\nC=1', 'f.env:2: ": the quoted value does not end'),
        ("=x", "f.env:1: there is no name before '='"),
        ("A=${", "f.env:1: '${' is no variable"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        read(text)
    assert str(found.value).startswith(error)


def test_other_bytes_and_large_files_are_refused() -> None:
    with pytest.raises(ComposeError, match="f:2: is not UTF-8"):
        parse(b"A=1\n\xff", "f", {})
    with pytest.raises(ComposeError, match="may have"):
        parse(b"A" * (MAX_BYTES + 1), "f", {})


def test_a_raw_file_is_taken_as_it_is() -> None:
    assert raw(b'# c\nA="x" $B # y\n\nB=\n', "f") == {"A": '"x" $B # y', "B": ""}
    with pytest.raises(ComposeError, match="f:1: x y"):
        raw(b"x y", "f")


@given(st.text(alphabet="AB=:'\"\\$#{} \n-", max_size=60))
def test_any_text_is_variables_or_refused(text: str) -> None:
    with contextlib.suppress(ComposeError):
        read(text, B="b")
