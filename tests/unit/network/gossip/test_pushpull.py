"""Lists of members by stream, with bytes of the real memberlist and with hostile ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip.delegate import State
from shoal.network.gossip.members import VERSIONS, Record
from shoal.network.gossip.msgpack import pack_map
from shoal.network.gossip.pushpull import MAX_NODES, Node, PushPull, interval, merge, read, write
from tests.unit.network.gossip.fakes import NOW, alive
from tests.unit.network.gossip.fakes import Node as Fake
from tests.unit.network.gossip.test_messages import ADDRESS, A

HEADER = "0683a44a6f696ec3a54e6f64657302ac5573657253746174654c656ecd012c"
ENTRY = (
    "87a441646472a4c0a8010aab496e6361726e6174696f6e01a44d657461a0a44e616d65ac303132333435363738396162a4506f7274cd1f0a"
    "a5537461746503a356736ea6010502000000"
)


def record(state: State = State.LEFT, versions: bytes = VERSIONS) -> Record:
    return Record(A, ADDRESS, 7946, b"", versions, 1, state, 0.0)


def test_bytes_are_the_real_ones() -> None:
    message = write([record(), record()], bytes(300), join=True)
    assert message.hex() == HEADER + ENTRY * 2 + "00" * 300
    told = read(message)
    assert (told.join, told.state, told.skipped) == (True, bytes(300), 0)
    assert [(node.alive.node, node.alive.address, node.state) for node in told.nodes] == [(A, ADDRESS, State.LEFT)] * 2


def test_signed_numbers_of_newer_writers_are_read() -> None:
    header = bytes.fromhex(HEADER.replace("cd012c", "d1012c"))
    assert read(header + bytes.fromhex(ENTRY * 2) + bytes(300)).state == bytes(300)


@pytest.mark.parametrize(
    ("members", "seconds"), [(1, 30), (32, 30), (33, 60), (64, 60), (65, 90), (128, 90), (500, 150)]
)
def test_interval_grows_with_the_members(members: int, seconds: float) -> None:
    assert interval(30.0, members) == seconds


@pytest.mark.parametrize("versions", [b"", b"\1", VERSIONS[:5], bytes(6), b"\3\5\3\0\0\0", b"\1\5\2\1\1\1"])
def test_node_of_other_versions_is_skipped_and_the_rest_is_taken(versions: bytes) -> None:
    """Because of such a node Docker refuses the whole exchange, or crashes, so it must not get into our list."""
    told = read(write([record(versions=versions), record()], b"s", join=False))
    assert (len(told.nodes), told.skipped, told.state) == (1, 1, b"s")


@pytest.mark.parametrize("change", [{"State": 4}, {"Name": b""}, {"Addr": b"\0\0\0\0"}, {"Port": -1}])
def test_node_that_makes_no_sense_is_skipped(change: dict[str, int | bytes]) -> None:
    fields: dict[str, int | bytes] = {"Addr": ADDRESS, "Name": A.encode(), "Port": 1, "State": 0, "Vsn": VERSIONS}
    bad = pack_map({**fields, **change} if change.get("Port") != -1 else {**fields, "Port": 70000})
    message = b"\x06" + pack_map({"Join": False, "Nodes": 1, "UserStateLen": 0}) + bad
    assert read(message).skipped == 1


@pytest.mark.parametrize(
    "header",
    [{"Nodes": MAX_NODES + 1}, {"Nodes": 2**64 - 1}, {"Nodes": 1}, {"UserStateLen": 5}, {"UserStateLen": 2**63}],
)
def test_promises_that_are_not_kept_are_refused(header: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        read(b"\x06" + pack_map(header))


@given(st.binary(max_size=300), st.sampled_from([b"", bytes.fromhex(HEADER), bytes.fromhex(HEADER + ENTRY)]))
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    try:
        read(start + data)
    except InvalidArgument:
        pass


def test_merging_makes_of_dead_a_suspect_that_may_speak_up() -> None:
    node = Fake(2, 3, 4)
    told = [Node(alive(2), State.LEFT), Node(alive(3), State.DEAD), Node(alive(4), State.SUSPECT)]
    told += [Node(alive(5), State.ALIVE), Node(alive(6), State.DEAD), Node(alive(1), State.DEAD)]
    merge(node.list.table, PushPull(False, tuple(told), b""), NOW)
    assert node.states() == {
        "n1": State.ALIVE, "n2": State.LEFT, "n3": State.SUSPECT, "n4": State.SUSPECT, "n5": State.ALIVE,
    }  # fmt: skip
    assert node.list.table.me.incarnation == 2, "and it refuted what was said of itself"
