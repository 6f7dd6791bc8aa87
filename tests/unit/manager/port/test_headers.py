import contextlib

import pytest
from grpclib.metadata import Deadline, decode_metadata, encode_metadata
from hypothesis import given
from hypothesis import strategies as st

from shoal.manager.port.headers import readable

SENT = [
    (":method", "POST"),
    (":path", "/docker.swarmkit.v1.Dispatcher/Heartbeat"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "grpc-go/1.66.2"),
    ("grpc-timeout", "4999850u"),
    ("grpc-accept-encoding", "gzip"),
    ("forwarded_cert_ou", "swarm-worker"),
    ("redirect", "10.0.0.1:2377"),
]


def test_what_agents_send_is_kept() -> None:
    assert readable(SENT) == SENT


@pytest.mark.parametrize("value", ["9" * 400 + "H", "9" * 5000 + "H", "123456789S", "", "soon", "-1S", "٣S", "1", "S"])
def test_a_timeout_that_is_none_stays_one_that_is_none(value: str) -> None:
    kept = readable([("grpc-timeout", value)])
    with pytest.raises(ValueError, match="Invalid timeout"):
        Deadline.from_headers(kept)


@pytest.mark.parametrize("header", ["x-bin a", "x-bin é", "x-bin YQ==", "x é", "x ", "x a\tb", "X a", "é a", " a"])
def test_what_cannot_be_read_or_sent_on_is_left_out(header: str) -> None:
    name, _, value = header.partition(" ")
    assert readable([(name, value)]) == []


NAMES = st.text(max_size=8) | st.sampled_from(["x-bin", "grpc-timeout", "te", "forwarded_cert"])


@given(st.lists(st.tuples(NAMES, st.text(max_size=8))))
def test_the_library_reads_and_sends_whatever_is_kept(headers: list[tuple[str, str]]) -> None:
    kept = readable(headers)
    encode_metadata(decode_metadata(kept))
    with contextlib.suppress(ValueError):  # not OverflowError
        Deadline.from_headers(kept)
