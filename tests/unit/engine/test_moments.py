import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.engine.moments import labels_match, moment, until
from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("24h", NOW - 86400),
        ("1h30m", NOW - 5400),
        ("-5m", NOW + 300),
        ("1.5s", NOW - 1.5),
        ("0", 0.0),
        ("1700000000.5", 1700000000.5),
        ("2024-05-01", 1714521600.0),
        ("2024-05-01Z", 1714521600.0),
        ("2024-05-01T12", 1714564800.0),
        ("2024-05-01T12:30", 1714566600.0),
        ("2024-05-01T12:30:15.123456789Z", 1714566615.123456),
        ("2024-05-01T12:30:15+02:00", 1714559415.0),
    ],
)
def test_moments_are_read(text: str, at: float) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", " ", "x", "2024-13-01", "24", "1e5", "٣", "24h ago", "9" * 40, "1h" * 40])
def test_other_words_are_refused_or_are_seconds(text: str) -> None:
    if text == "24":
        assert moment(text, NOW) == 24.0
        return
    with pytest.raises(InvalidArgument):
        moment(text, NOW)


@given(st.text(max_size=30) | st.from_regex(r"[0-9TZ:.+h-]{0,30}"))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(moment(text, NOW), float)
    except InvalidArgument:
        pass


def test_until_is_given_once() -> None:
    assert until(Filters({}), NOW) is None
    assert until(Filters({"until": ("1h",)}), NOW) == NOW - 3600
    with pytest.raises(InvalidArgument, match="more than one until filter specified"):
        until(Filters({"until": ("1h", "2h")}), NOW)


@pytest.mark.parametrize(
    ("filters", "labels", "passes"),
    [
        ({}, {}, True),
        ({"label": ("a",)}, {"a": "1"}, True),
        ({"label": ("a=2",)}, {"a": "1"}, False),
        ({"label!": ("a",)}, {"a": "1"}, False),
        ({"label!": ("a=2",)}, {"a": "1"}, True),
        ({"label!": ("a",)}, {}, True),
        ({"label": ("a",), "label!": ("b",)}, {"a": "", "b": ""}, False),
    ],
)
def test_labels_pass_both_filters(filters: dict[str, tuple[str, ...]], labels: dict[str, str], passes: bool) -> None:
    assert labels_match(Filters(filters), labels) is passes
