"""A wanted state as JSON, and what is no such state."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.wanted import (
    Endpoint,
    Gossip,
    Key,
    Overlay,
    Port,
    Reached,
    Sandbox,
    Service,
    Subnet,
    Trouble,
    Wanted,
    from_json,
    to_json,
)

WHOLE = Wanted(
    revision=7,
    gossip=Gossip("0.0.0.0", "10.9.0.1", "10.9.0.1", 4790, ("10.9.0.2",), (Key("networking:gossip", "00" * 16, 3),)),
    overlays=(Overlay("net1", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),), "10.0.1.2/24", internal=True),),
    sandboxes=(
        Sandbox(
            "c1",
            "web.1.x",
            "/run/netns/c1",
            (
                Endpoint(
                    "e" * 64,
                    "net1",
                    "10.0.1.5/24",
                    "02:42:0a:00:01:05",
                    "eth0",
                    Service("s1", "web", "10.0.1.4", ("w",), (Port("udp", 53, 5353),)),
                    ("c1",),
                    enabled=True,
                ),
            ),
            ("9.9.9.9",),
        ),
    ),
)


def test_what_is_written_is_read_again() -> None:
    assert from_json(Wanted, to_json(WHOLE)) == WHOLE
    reached = Reached(7, (Trouble("net1", "", "no ESP in this kernel"),))
    assert from_json(Reached, to_json(reached)) == reached


def test_a_newer_side_may_send_more_and_an_older_less() -> None:
    assert from_json(Wanted, b'{"revision": 1, "later": [1]}') == Wanted(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "Wanted: an object was expected"),
        (b"{}", "Wanted: "),
        (b'{"revision": true}', "Wanted.revision: int was expected"),
        (b'{"revision": 1, "overlays": {}}', "Wanted.overlays: a list was expected"),
        (b'{"revision": 1, "gossip": {"bind": 1}}', "Wanted.gossip.bind: str was expected"),
    ],
)
def test_what_is_no_wanted_state_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        from_json(Wanted, text)


def test_a_protocol_is_one_of_three() -> None:
    text = to_json(WHOLE).replace(b'"udp"', b'"icmp"')
    with pytest.raises(InvalidArgument, match="one of tcp, udp, sctp"):
        from_json(Wanted, text)


NAMES = st.sampled_from(["revision", "gossip", "overlays", "sandboxes", "bind", "keys"])
PLAIN = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))


@given(VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        from_json(Wanted, json.dumps(value).encode())
    except InvalidArgument:
        return
