import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.units import duration, nano_cpus, nanoseconds, rounded_number, size_bytes

S = 10**9


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("90s", 90 * S),
        ("1h5m30s20ms", 3930 * S + 20_000_000),
        ("1.5h", 5400 * S),
        ("100us", 100_000),
        ("1d", 86400 * S),
        ("-1s", -S),
        ("", None),
        ("5", None),
        ("5 s", None),
        ("s", None),
        ("1s2", None),
        ("9" * 19 + "h", None),
    ],
)
def test_durations(text: str, nanos: int | None) -> None:
    assert nanoseconds(text) == nanos


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_printed_duration_is_read_again(nanos: int) -> None:
    assert nanoseconds(duration(nanos)) == nanos


def test_durations_are_printed_as_go_does() -> None:
    assert [duration(each) for each in (0, 90 * S, 3600 * S, 1_500_000_000, 250_000_000, 1500, 7, -S)] == [
        *("0s", "1m30s", "1h0m0s", "1.5s", "250ms", "1.5µs", "7ns", "-1s"),
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("64m", 64 << 20), ("1.5gb", 3 << 29), ("64MiB", 64 << 20), ("2 kb", 2048), ("10b", 10), ("7", 7)],
        *[("much", None), ("-1", None), ("9" * 19 + "p", None), ("", None)],
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert size_bytes(text) == size


def test_processors() -> None:
    assert [nano_cpus(each) for each in ("0.5", "2", "1e-9", "0.0000000001", "NaN", "-1", "x", "1e99999")] == [
        *(500_000_000, 2 * S, 1, None, None, None, None, None),
    ]
    assert [rounded_number(each) for each in (2.0, 0.5)] == [2, 0.5]
