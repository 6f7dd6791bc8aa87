"""Durations and instants: protobuf's messages on one side, seconds as `float` or nanoseconds as `int` on the other."""

from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NANOS = 1_000_000_000


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
    """Return the message for a length in nanoseconds; both fields carry the sign, as protobuf asks."""
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


def rfc3339(at: Timestamp) -> str:
    """Return an instant as Docker writes it: UTC, nanoseconds without trailing zeros, `Z`."""
    head = datetime.fromtimestamp(at.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    tail = f".{at.nanos:09d}".rstrip("0") if at.nanos else ""
    return f"{head}{tail}Z"
