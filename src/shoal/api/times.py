"""Converts durations and instants between protobuf's messages and seconds (`float`) or nanoseconds (`int`)."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NANOS = 1_000_000_000

# The bounds of a protobuf timestamp, the years 1 to 9999. A message from a node may hold any number.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - everything here is UTC


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.seconds + duration.nanos / NANOS


def duration(length: float) -> Duration:
    """Return the message for a length in seconds."""
    return duration_from_nanos(round(length * NANOS))


def nanos(duration: Duration) -> int:
    """Return a duration in nanoseconds, exactly."""
    return int(duration.seconds * NANOS + duration.nanos)


def duration_from_nanos(length_nanos: int) -> Duration:
    """Return the message for a length in nanoseconds. Both fields carry the sign, as protobuf requires."""
    sign = -1 if length_nanos < 0 else 1
    whole, rest = divmod(abs(length_nanos), NANOS)
    return Duration(seconds=sign * whole, nanos=sign * rest)


def timestamp(at: float) -> Timestamp:
    """Return the message for an instant in seconds since 1970."""
    return timestamp_from_nanos(round(at * NANOS))


def timestamp_from_nanos(at_nanos: int) -> Timestamp:
    """Return the message for an instant in nanoseconds since 1970."""
    whole, rest = divmod(at_nanos, NANOS)
    return Timestamp(seconds=whole, nanos=rest)


def instant(at: Timestamp) -> float:
    """Return an instant in seconds since 1970; 0.0 for an unset message."""
    return at.seconds + at.nanos / NANOS


def is_valid(at: Timestamp) -> bool:
    """Return whether a message is within the bounds of a protobuf timestamp."""
    return EARLIEST <= at.seconds <= LATEST and 0 <= at.nanos < NANOS


def rfc3339(at: Timestamp) -> str:
    """Return an instant as Docker writes it: UTC, nanoseconds without trailing zeros, `Z`.

    An instant before the year 1 or after 9999 is shown as the nearest that can be written.
    """
    nanos = min(max(at.nanos, 0), NANOS - 1)
    tail = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{_date_and_time(at.seconds)}{tail}Z"


def rfc3339_nanos(at_nanos: int) -> str:
    """Return an instant in nanoseconds since 1970 with all nine digits, as at the start of Docker's log lines."""
    whole, nanos = divmod(at_nanos, NANOS)
    return f"{_date_and_time(whole)}.{nanos:09d}Z"


def _date_and_time(at: int) -> str:
    clamped = min(max(at, EARLIEST), LATEST)
    # Added to 1970, because `fromtimestamp` fails for some of these. `isoformat` always writes four digits of the year.
    return (_EPOCH + timedelta(seconds=clamped)).isoformat(timespec="seconds")
