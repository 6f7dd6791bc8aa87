import fnmatch
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.engine.image_filters import choose, glob
from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument, NotFound
from tests.unit.engine.host_fakes import FakeImages, image

NOW = 10_000.0
IDS = ["sha256:" + digit * 64 for digit in "1234"]
ROWS = [
    image("busybox:latest", "registry:5000/team/app:1.2", id=IDS[0], created_at=9000.0, labels={"tier": "front"}),
    image("busybox:1.36", id=IDS[1], created_at=8000.0, repo_digests=("busybox@sha256:" + "d" * 64,)),
    image(id=IDS[2], created_at=7000.0, repo_digests=("alpine@sha256:" + "e" * 64,)),
    image(id=IDS[3], created_at=6000.0),
]


def chosen(**filters: Any) -> list[str]:
    given_ = {key: tuple([value] if isinstance(value, str) else value) for key, value in filters.items()}
    found = choose(ROWS, Filters(given_), FakeImages(*ROWS).get, NOW)
    return [row.id[7] for row, _ in found]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "1234"),
        ({"dangling": "true"}, "34"),
        ({"dangling": "false"}, "123"),
        ({"label": "tier=front"}, "1"),
        ({"label!": "tier"}, "234"),
        ({"before": "busybox:1.36"}, "34"),
        ({"since": "busybox:1.36"}, "1"),
        ({"since": IDS[3], "before": IDS[0]}, "23"),
        ({"until": "2000s"}, "34"),
        ({"reference": "busybox"}, "12"),
        ({"reference": "busybox:1.*"}, "2"),
        ({"reference": "*/team/app"}, "1"),
        ({"reference": "*/app"}, ""),
        ({"reference": ["alpine", "nothing"]}, "3"),
    ],
)
def test_filters_choose(filters: dict[str, Any], found: str) -> None:
    assert "".join(chosen(**filters)) == found


def test_only_the_names_that_were_asked_for_are_shown() -> None:
    found = choose(ROWS, Filters({"reference": ("busybox:*",)}), FakeImages(*ROWS).get, NOW)
    assert [names for _, names in found] == [(["busybox:latest"], []), (["busybox:1.36"], [])]


def test_unknown_bounds_and_values_are_refused() -> None:
    with pytest.raises(NotFound):
        chosen(before="nothing")
    for filters in ({"dangling": "maybe"}, {"until": "then"}, {"reference": "[a"}):
        with pytest.raises(InvalidArgument):
            chosen(**filters)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a/b", False),
        ("*/*", "a/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[c-a]x", "bx", False),
        (r"\*x", "*x", True),
        (r"\*x", "ax", False),
        ("*b*", "abab", True),
        ("*a*b", "xaxb", True),
        ("*a*b", "xbxa", False),
        ("a*a", "a", False),
        ("", "", True),
    ],
)
def test_patterns_are_gos(pattern: str, name: str, matches: bool) -> None:
    assert (glob(pattern).fullmatch(name) is not None) is matches


@pytest.mark.parametrize("pattern", ["[", "[a", "[a-", "[-a]", "[]", "a\\", "[\\"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        glob(pattern)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_without_slashes_patterns_are_shell_patterns(pattern: str, name: str) -> None:
    assert (glob(pattern).fullmatch(name) is not None) is fnmatch.fnmatchcase(name, pattern)


@given(st.text("ab*/[]^-\\?\x00é", max_size=12))
def test_every_pattern_is_read_or_refused(pattern: str) -> None:
    try:
        assert isinstance(glob(pattern), re.Pattern)
    except InvalidArgument:
        pass


def test_many_stars_take_no_time() -> None:
    pattern = glob("*a" * 40 + "b")
    began = time.thread_time()
    assert pattern.fullmatch("a" * 200) is None
    assert time.thread_time() - began < 0.1
