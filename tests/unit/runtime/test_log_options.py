"""Options of json-file: which are accepted, and what they mean."""

import pytest

from shoal.errors import InvalidArgument, Unimplemented
from shoal.runtime.log_options import LogDefault, LogLimits, check, limits, resolve


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, LogLimits(0, 1)),
        ({"max-size": "10m"}, LogLimits(10_000_000, 1)),
        ({"max-size": "1.5k", "max-file": "3"}, LogLimits(1500, 3)),
        ({"max-size": "2 GiB", "max-file": "+2"}, LogLimits(2_000_000_000, 2)),
        ({"max-size": "100"}, LogLimits(100, 1)),
        ({"max-file": "5"}, LogLimits(0, 1)),  # without a size there is one file, however large
    ],
)
def test_limits(options: dict[str, str], wanted: LogLimits) -> None:
    assert limits(options) == wanted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max-size": "much"}, "failed to initialize logging driver: invalid size: 'much'"),
        ({"max-size": "-1"}, "failed to initialize logging driver: invalid size: '-1'"),
        ({"max-size": "0"}, "failed to initialize logging driver: max-size must be a positive number"),
        ({"max-file": "0"}, "failed to initialize logging driver: max-file cannot be less than 1"),
        ({"max-file": "x"}, 'failed to initialize logging driver: strconv.Atoi: parsing "x": invalid syntax'),
        ({"max-file": "1001"}, "failed to initialize logging driver: max-file cannot be more than 1000"),
        ({"max-sise": "1m"}, "unknown log opt 'max-sise' for json-file log driver"),
    ],
)
def test_what_is_no_option_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check("json-file", options)
    assert str(raised.value) == words


@pytest.mark.parametrize("options", [{"compress": "true"}, {"mode": "non-blocking"}, {"tag": "x"}])
def test_what_cannot_be_done_is_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(Unimplemented, match=next(iter(options))):
        check("json-file", options)


def test_another_driver_is_none() -> None:
    with pytest.raises(InvalidArgument, match="logger: no log driver named 'syslog' is registered"):
        resolve("syslog", {}, LogDefault())


def test_the_daemons_options_hold_where_a_container_says_nothing_else() -> None:
    default = LogDefault("json-file", {"max-size": "10m", "max-file": "3"})
    assert resolve("", {}, default) == ("json-file", {"max-size": "10m", "max-file": "3"})
    assert resolve("json-file", {"max-file": "1", "mode": "blocking"}, default) == (
        "json-file",
        {"max-size": "10m", "max-file": "1", "mode": "blocking"},
    )
