"""Times, also impossible ones."""

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from shoal.api import times
from shoal.api.times import is_valid, rfc3339, rfc3339_nanos

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def test_instants_are_written_as_docker_writes_them() -> None:
    assert rfc3339(times.timestamp_from_nanos(1_700_000_000_120_000_000)) == "2023-11-14T22:13:20.12Z"
    assert rfc3339(Timestamp()) == "1970-01-01T00:00:00Z"
    assert rfc3339_nanos(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.120000000Z"
    assert rfc3339(Timestamp(seconds=times.EARLIEST)) == "0001-01-01T00:00:00Z"


def test_what_no_calendar_has_is_written_as_the_nearest_that_it_has() -> None:
    assert rfc3339(Timestamp(seconds=1 << 60)) == "9999-12-31T23:59:59Z"
    assert rfc3339(Timestamp(seconds=-(1 << 60), nanos=-5)) == "0001-01-01T00:00:00Z"
    assert rfc3339_nanos(1 << 90) == f"9999-12-31T23:59:59.{(1 << 90) % times.NANOS:09d}Z"


@given(INT64, st.integers(-(1 << 31), (1 << 31) - 1))
def test_every_message_is_written_and_valid_ones_exactly(seconds: int, nanos: int) -> None:
    at = Timestamp(seconds=seconds, nanos=nanos)
    assert len(rfc3339_nanos(seconds * times.NANOS + nanos)) == 30
    text = rfc3339(at)
    assert 20 <= len(text) <= 30
    if is_valid(at):
        again = Timestamp()
        again.FromJsonString(text)
        assert again == at
