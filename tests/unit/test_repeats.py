"""Messages that others cause make only a few log lines, however many there are."""

import logging

import pytest

from shoal.repeats import Repeats, is_told


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def repeats(clock: Clock, max_kinds: int = 3) -> Repeats:
    return Repeats(logging.getLogger("test"), max_kinds=max_kinds, quiet=60.0, clock=clock)


def test_fifty_thousand_equal_lines_are_five_with_a_count(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    told = repeats(clock)
    for number in range(50_000):
        told.log(logging.WARNING, "bad", "a peer sent %d", number)
    assert [record.getMessage() for record in lines.records] == [
        "a peer sent 0",
        "a peer sent 9 (10 times by now)",
        "a peer sent 99 (100 times by now)",
        "a peer sent 999 (1000 times by now)",
        "a peer sent 9999 (10000 times by now)",
    ]
    assert {record.levelno for record in lines.records} == {logging.WARNING}


def test_a_kind_that_was_silent_is_told_anew(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    told = repeats(clock)
    told.log(logging.INFO, "bad", "it")
    told.log(logging.INFO, "bad", "it")
    clock.now = 61.0
    told.log(logging.INFO, "bad", "it")
    assert lines.messages == ["it", "it"]


def test_whoever_varies_the_kind_gains_nothing(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    told = repeats(clock)
    for number in range(10_000):
        told.log(logging.WARNING, number, "from %d", number)
    assert len(lines.messages) == 3 + 4
    assert lines.messages[-1] == "from 1002 (and 999 more of many kinds)"
    assert len(told._seen) == 3


def test_kinds_that_were_silent_give_their_place_to_new_ones(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    told = repeats(clock)
    for number in range(3):
        told.log(logging.WARNING, number, "from %d", number)
    clock.now = 61.0
    told.log(logging.WARNING, 3, "from %d", 3)
    assert lines.messages[-1] == "from 3"
    assert list(told._seen) == [3]


def test_a_traceback_comes_with_the_lines_that_are_told(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    told = repeats(clock)
    for _ in range(9):
        try:
            raise ValueError("x")
        except ValueError:
            told.log(logging.ERROR, "bad", "it", exc_info=True)
    assert [bool(record.exc_info) for record in lines.records] == [True]
    assert lines.records[0].filename == "test_repeats.py"


@pytest.mark.parametrize(
    ("count", "told"), [(1, True), (2, False), (10, True), (11, False), (110, False), (1000, True)]
)
def test_powers_of_ten_are_told(count: int, told: bool) -> None:
    assert is_told(count) is told
