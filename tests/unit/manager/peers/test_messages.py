import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import PermissionDenied
from shoal.manager.peers.messages import MAX_TERM, MessageCheck
from tests.unit.manager.etcd_peers import message, varint

ID = 2**63 + 5


def check(data: bytes, **how: bool) -> None:
    judged = MessageCheck(ID, **how)
    for at in range(0, len(data), 3):
        judged.feed(data[at : at + 3])
    judged.end()


def test_a_members_own_message_is_right() -> None:
    check(message(ID, entry=b"\x18\x01" * 500, term=MAX_TERM - 1))


def test_a_message_is_for_the_member_that_hears_it() -> None:
    said = message(ID, to=7)
    MessageCheck(ID, 7).feed(said)
    MessageCheck(ID).feed(said)
    with pytest.raises(PermissionDenied, match="a message is for member 7, and this one is 8"):
        MessageCheck(ID, 8).feed(said)


def test_a_snapshots_message_is_looked_at_and_not_the_snapshot() -> None:
    said = message(ID)
    check(len(said).to_bytes(8, "big") + said + b"\x18\x01\xff\xff", has_length=True)
    with pytest.raises(PermissionDenied, match="cut short"):
        check(len(said).to_bytes(8, "big") + said[:-1], has_length=True)
    with pytest.raises(PermissionDenied, match="cut short"):
        check(b"\0\0", has_length=True)


@pytest.mark.parametrize("field", [4, 5])
@pytest.mark.parametrize("term", [MAX_TERM, 2**64 - 1])
def test_a_term_that_cannot_be_is_refused(field: int, term: int) -> None:
    with pytest.raises(PermissionDenied, match="term"):
        check(message(ID) + bytes([field << 3]) + varint(term))


@pytest.mark.parametrize(
    "said", [message(5), message(ID) + b"\x18\x05", b"", message(ID) + b"\x18" + b"\xff" * 12, message(ID) + b"\x0b"]
)
def test_whoever_else_or_nobody_is_refused(said: bytes) -> None:
    with pytest.raises(PermissionDenied):
        check(said)


@given(st.binary(max_size=100))
def test_any_bytes_are_taken_or_refused(said: bytes) -> None:
    for how in (True, False):
        try:
            check(said, has_length=how)
        except PermissionDenied:
            pass
