import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.patterns import BadPattern, compiled


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("web", "my-web.1", True),
        ("^web$", "my-web.1", False),
        (r"^web\.[0-9]+$", "web.12", True),
        ("(?i)WEB", "web", True),
        ("", "anything", True),
        ("é.", "café-1", True),
        (r"\pL+", "ß", True),
        ("a", "\udc80a", True),
    ],
)
def test_an_expression_is_found(pattern: str, text: str, found: bool) -> None:
    assert compiled(pattern)(text) is found


@pytest.mark.parametrize(
    "pattern", ["[", "(", "a**b(", r"(?=a)", r"(a)\1", "a{1001}", "(?:(?:a|b|-){1,30}1){30}", "\udc80"]
)
def test_what_go_refuses_and_what_is_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compiled(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)b$", "(?:a?){500}a{500}"])
def test_no_expression_takes_long(pattern: str) -> None:
    found = compiled(pattern)
    began = time.thread_time()
    for _ in range(100):
        found("a" * 64 + "!")
    assert time.thread_time() - began < 0.5


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_as_an_expression_gives_an_answer_or_is_refused(pattern: str, text: str) -> None:
    try:
        assert compiled(pattern)(text) in (True, False)
    except BadPattern:
        pass
