import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.words import BadWords, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a\t b\n", ["a", "b"]),
        ("echo 'one two' \"three four\" five\\ six", ["echo", "one two", "three four", "five six"]),
        ("a''b", ["ab"]),
        ("x ''", ["x", ""]),
        ("", []),
        ('--flag="a b"', ["--flag=a b"]),
    ],
)
def test_a_command_is_split_into_words(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize("text", ["'a", '"', "a\\"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(BadWords):
        split(text)


@given(st.lists(st.text(max_size=8).filter(lambda word: "\0" not in word), max_size=5))
def test_words_that_a_shell_would_quote_come_back(words: list[str]) -> None:
    assert split(shlex.join(words)) == words
