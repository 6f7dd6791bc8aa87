"""Labels `shoal.*`: their meaning, and which are refused by name."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api.options import (
    NODE,
    SERVICE,
    Malformed,
    Option,
    Options,
    Parse,
    ServiceOptions,
    boolean,
    length,
    one_of,
    percentage,
    whole,
)
from shoal.errors import InvalidArgument

COUNT, PART, TIME, WORD = whole(0, 1000), percentage(1, 200), length(0.001, 86_400), one_of("red", "green", "blue")
PARSERS: tuple[Parse, ...] = (COUNT, PART, TIME, WORD, boolean)


@dataclass(frozen=True)
class Made:
    count: int = 7
    on: bool = False


SOME = Options("a thing", Made, Option("count", "count", COUNT), Option("on", "on", boolean))


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (COUNT, "0", 0),
        (COUNT, "1000", 1000),
        (whole(-5, 5), "-5", -5),
        (PART, "70%", 0.7),
        (PART, "12.5%", 0.125),
        (PART, "200%", 2.0),
        (TIME, "1ms", 0.001),
        (TIME, "90s", 90.0),
        (TIME, "1m30s", 90.0),
        (TIME, "1.5h", 5400.0),
        (WORD, "green", "green"),
        (boolean, "true", True),
        (boolean, "false", False),
    ],
)
def test_what_is_taken(parse: Parse, text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        *((COUNT, text, "a whole number from 0 to 1000") for text in ("", "-1", "1001", "1.0", "1 ", "٣", "9" * 5000)),
        *((PART, text, "a percentage from 1% to 200%") for text in ("", "70", "0%", "201%", "%", "-5%", "1e1%")),
        *((TIME, text, "a duration from 0.001s to 86400s") for text in ("", "5", "5 s", "s", "-5s", "25h", "1d", "0s")),
        *((TIME, text, "with its unit") for text in ("5sx", "x5s", "1h" * 5000, "1us")),
        *((WORD, text, "red, green or blue") for text in ("", "Red", "yellow")),
        *((boolean, text, "true or false") for text in ("", "1", "yes", "True")),
    ],
)
def test_what_is_not(parse: Parse, text: str, words: str) -> None:
    with pytest.raises(Malformed) as raised:
        parse(text)
    assert words in str(raised.value)


def test_labels_are_read() -> None:
    SOME.check({"shoal.count": "3", "shoal.on": "true", "other": "x", "shoalx": "y", "Shoal.count": "z"})
    assert SOME.read({"shoal.count": "3", "shoal.on": "true", "other": "x"}) == Made(3, True)
    assert SOME.read({}) == Made()


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(InvalidArgument) as raised:
        SOME.check({"shoal.on": "true", "shoal.count": "many"})
    assert str(raised.value) == 'label shoal.count: "many" is not a whole number from 0 to 1000'
    with pytest.raises(InvalidArgument) as raised:
        SOME.check({"shoal.cuont": "3"})
    assert str(raised.value) == (
        "label shoal.cuont: a thing has no such option; names that begin with shoal. are Shoal's own "
        "(shoal.count, shoal.on)"
    )
    with pytest.raises(InvalidArgument, match=r"^label shoal\.x: a node has no such option; .* are Shoal's own$"):
        NODE.check({"shoal.x": ""})


def test_a_megabyte_is_not_sent_back() -> None:
    for labels in ({"shoal.count": "x" * 1024 * 1024}, {"shoal." + "x" * 1024 * 1024: ""}):
        with pytest.raises(InvalidArgument) as raised:
            SOME.check(labels)
        assert len(str(raised.value)) < 300


def test_what_is_stored_is_let_through_and_means_nothing() -> None:
    stored = {"shoal.later": "1", "shoal.count": "many"}
    SOME.check(dict(stored), stored)
    assert SOME.read(stored) == Made()
    with pytest.raises(InvalidArgument):
        SOME.check({**stored, "shoal.later": "2"}, stored)


def test_the_options_of_a_service() -> None:
    for word in ("always", "missing", "never"):
        SERVICE.check({"shoal.pull": word})
        assert SERVICE.read({"shoal.pull": word}) == ServiceOptions(pull=word)
    with pytest.raises(InvalidArgument) as raised:
        SERVICE.check({"shoal.pull": "sometimes"})
    assert str(raised.value) == 'label shoal.pull: "sometimes" is not always, missing or never'
    assert SERVICE.read({"shoal.ingress.source-ip": "false"}) == ServiceOptions(ingress_source_ip=False)
    with pytest.raises(InvalidArgument):
        SERVICE.check({"shoal.ingress.source-ip": "no"})


TEXTS = st.one_of(st.text(max_size=30), st.from_regex(r"[-0-9.hms%e+_ ]{0,30}", fullmatch=True))


@given(TEXTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in PARSERS:
        try:
            value = parse(text)
        except Malformed:
            continue
        assert value in ("red", "green", "blue") if parse is WORD else 0 <= value <= 86_400


@given(st.dictionaries(st.one_of(st.text(max_size=12).map(lambda text: f"shoal.{text}"), st.text(max_size=12)), TEXTS))
def test_any_labels_are_let_in_or_refused_by_name_and_can_be_read(labels: dict[str, str]) -> None:
    ours = {label for label in labels if label.startswith("shoal.")}
    said = ""
    try:
        SOME.check(labels)
    except InvalidArgument as error:
        said = str(error)
    assert any(f"label {label}: " in said for label in ours) if said else ours <= {"shoal.count", "shoal.on"}
    assert isinstance(SOME.read(labels), Made)
