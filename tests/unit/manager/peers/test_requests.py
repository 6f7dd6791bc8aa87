"""Requests of etcds as etcd 3.4 and 3.5 write them, whole and in pieces, and what must not pass."""

from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import PermissionDenied
from shoal.manager.peers.requests import MAX_HEAD_BYTES, Requests, last_question
from tests.unit.manager.etcd_peers import head, message, post

NODE = "n" * 25
ID = 0xD2C1F0
URL = f"unix://{NODE}:1"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


SNAPSHOT_MESSAGE = message(ID, kind=7)
SNAPSHOT = head("POST", "/raft/snapshot", ID, Transfer_Encoding="chunked", X_PeerURLs=URL) + chunked(
    len(SNAPSHOT_MESSAGE).to_bytes(8, "big"), SNAPSHOT_MESSAGE, b"\xff" * 5000, b"database"
)
RIGHT = [
    head("GET", f"/raft/stream/msgapp/{ID:x}", ID, X_Raft_To="1", X_PeerURLs=URL),
    head("GET", f"/raft/stream/message/{ID:x}", ID, X_Raft_To="1", X_PeerURLs=URL),
    head("GET", "/raft/probing", None),
    head("GET", "/members", None, Connection="close"),
    head("GET", "/version", None),
    head("GET", "/downgrade/enabled", None),
    head("POST", "/members/promote/12345", None, Content_Length="0"),
    post(ID, message(ID)),
    post(ID, message(ID, kind=3, entry=b"\x1a" * 3000)),
    SNAPSHOT,
]
WRONG = {
    "a heartbeat in another's name": post(ID, message(ID + 1)),
    "a head in another's name": post(ID + 1, message(ID)),
    "both": post(ID + 1, message(ID + 1)),
    "a message that names its sender twice": post(ID, message(ID) + b"\x18\x01"),
    "a message without a sender": post(ID, b"\x08\x08"),
    "a message that is cut short": post(ID, message(ID) + b"\x3a\x10abc"),
    "the last term": post(ID, message(ID, term=2**64 - 1)),
    "no head that names the sender": head("POST", "/raft", None, Content_Length="0"),
    "another's stream": head("GET", f"/raft/stream/msgapp/{ID + 1:x}", ID),
    "another's stream in its name": head("GET", f"/raft/stream/msgapp/{ID + 1:x}", ID + 1),
    "a stream of nobody's": head("GET", f"/raft/stream/msgapp/{ID:x}", None),
    "another's snapshot": SNAPSHOT.replace(SNAPSHOT_MESSAGE, message(ID + 1, kind=7)),
    "an address elsewhere": head("GET", f"/raft/stream/msgapp/{ID:x}", ID, X_PeerURLs="unix://shoal.sock:1"),
    "the client's API": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a way to the client's API": head("GET", "/members", None, Connection="Upgrade, HTTP2-Settings"),
    "an upgrade": head("GET", "/members", None, Upgrade="h2c"),
    "leases": post(ID, b"", "/leases"),
    "hashes": head("GET", "/members/hashkv", ID),
    "a path that is read otherwise": head("GET", "/raft/../members", None),
    "a query": head("GET", "/members?x", None),
    "another method": head("PUT", "/members", None),
    "a header twice": head("GET", "/version", ID, x_server_from=f"{ID + 1:x}"),
    "a length twice": head("POST", "/raft", ID, Content_Length="0", content_length="5"),
    "a length and chunks": head("POST", "/raft", ID, Content_Length="5", Transfer_Encoding="chunked"),
    "a length that is none": head("POST", "/raft", ID, Content_Length="+5"),
    "another coding": head("POST", "/raft", ID, Transfer_Encoding="gzip, chunked"),
    "a question with a body": head("GET", "/version", None, Content_Length="5") + b"GET /",
    "a chunk with more": head("POST", "/raft", ID, Transfer_Encoding="chunked") + b"1;x=y\r\na\r\n",
    "a chunk that is longer": head("POST", "/raft", ID, Transfer_Encoding="chunked") + b"1\r\nabc",
    "a trailer": head("POST", "/members/promote/1", ID, Transfer_Encoding="chunked") + b"0\r\nX-Server-From: 1\r\n\r\n",
    "a folded line": b"GET /version HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "a bare end of line": b"GET /version HTTP/1.1\r\nHost: x\nX-Server-From: 1\r\n\r\n",
    "a space before a colon": b"GET /version HTTP/1.1\r\nX-Server-From : 1\r\n\r\n",
    "an old version": b"GET /version HTTP/1.0\r\n\r\n",
    "nonsense": b"\r\n\r\n",
    "a head without an end": b"GET /version HTTP/1.1\r\nHost: " + b"x" * MAX_HEAD_BYTES,
}


def test_what_etcd_says_passes_as_it_came() -> None:
    said = b"".join(RIGHT)
    assert Requests(NODE, ID).feed(said) == said


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
def test_what_is_not_its_members_to_say_does_not_pass(said: bytes) -> None:
    requests = Requests(NODE, ID)
    requests.feed(RIGHT[2])
    with pytest.raises(PermissionDenied):
        requests.feed(said)


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
def test_nor_does_it_byte_by_byte(said: bytes) -> None:
    requests = Requests(NODE, ID)

    def feed() -> None:
        for at in range(len(said)):
            requests.feed(said[at : at + 1])

    with pytest.raises(PermissionDenied):
        feed()


def test_of_a_head_nothing_passes_before_it_was_read_whole() -> None:
    requests = Requests(NODE, ID)
    said = RIGHT[0]
    assert requests.feed(said[:-1]) == b""
    assert requests.feed(said[-1:]) == said


@given(
    st.lists(st.sampled_from(RIGHT), max_size=4),
    st.lists(st.sampled_from((1, 2, 3, 7, 100, 5000)), min_size=1, max_size=8),
)
def test_in_whatever_pieces_it_comes(parts: list[bytes], sizes: list[int]) -> None:
    said, at, passed = b"".join(parts), 0, b""
    requests = Requests(NODE, ID)
    for size in cycle(sizes):
        if at >= len(said):
            break
        passed += requests.feed(said[at : at + size])
        at += size
    assert passed == said


@given(st.binary(max_size=200), st.sampled_from(RIGHT))
def test_whatever_comes_is_passed_or_refused(noise: bytes, first: bytes) -> None:
    requests = Requests(NODE, ID)
    try:
        requests.feed(first + noise)
        requests.feed(noise)
    except PermissionDenied:
        pass


FACTS = {"X_Etcd_Cluster_ID": "ab12", "X_Server_Version": "3.4.23", "X_Min_Cluster_Version": "3.0.0"}


def test_one_that_is_no_member_is_asked_about_by_nothing_but_numbers() -> None:
    said = head("GET", "/raft/stream/message/ff", 0xFF, X_PeerURLs="unix://elsewhere:1", **FACTS)
    assert last_question(said + b"more", [1, 2]) == (
        b"GET /raft/stream/message/ff HTTP/1.0\r\nHost: localhost\r\nx-server-from: ff\r\nx-etcd-cluster-id: ab12\r\n"
        b"x-server-version: 3.4.23\r\nx-min-cluster-version: 3.0.0\r\n\r\n"
    )


@pytest.mark.parametrize(
    "said",
    [
        head("GET", "/raft/stream/message/1", 1, **FACTS),  # a present member's
        head("GET", "/raft/stream/message/ff", 0xFE, **FACTS),
        head("GET", "/raft/stream/message/ff", None, **FACTS),
        head("GET", "/raft/stream/message/FF", 0xFF, **FACTS),
        head("GET", "/raft/stream/other/ff", 0xFF, **FACTS),
        head("GET", "/raft/stream/message/ff", 0xFF, **FACTS | {"X_Server_Version": "3.4.23-x y"}),
        head("GET", "/members", 0xFF, **FACTS),
        post(0xFF, message(0xFF)),
        head("GET", "/raft/stream/message/ff", 0xFF, **FACTS)[:-2],
        b"\r\n\r\n",
        b"",
    ],
)
def test_anything_else_is_not_asked(said: bytes) -> None:
    assert last_question(said, [1, 2]) is None
