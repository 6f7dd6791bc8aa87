from itertools import permutations

import pytest

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import attachments, messages, tables
from tests.unit.network.networkdb.wires import (
    NET,
    SELF,
    Peer,
    create,
    database,
    delete,
    dump,
    events_in,
    off,
    on,
    sync,
    told,
    update,
)

A, B = "asker", "bbbbbbbbbbbb"


def relayed(db: object, wire: object, now: float) -> list[str]:
    db.tick(now)  # type: ignore[attr-defined]
    return sorted({event.key for packet in wire.packets() for event in events_in(packet)})  # type: ignore[attr-defined]


def test_an_event_of_a_member_is_told_and_passed_on_as_it_came() -> None:
    db, wire = database(A, B)
    event = pb.TableEvent(
        type=messages.CREATE, l_time=5, node_name=A, network_id=NET, table_name="t", key="k", value=b"v"
    )
    inner = event.SerializeToString() + b"\x52\x03new"  # a field that we do not know
    db.heard(messages.wrap(messages.TABLE, inner), 1.0)
    assert told(db) == {"k": (None, b"v")}
    db.tick(1.0)
    packet = wire.packets()[0]
    assert inner in packet
    assert dump(db, wire, 1.1)["k"].SerializeToString() == inner


def test_older_and_equal_events_change_nothing() -> None:
    db, _wire = database(A)
    db.heard(update(A, 5, "k", b"new"), 1.0)
    for late in (create(A, 4, "k", b"old"), create(A, 5, "k", b"same"), delete(A, 5, "k"), delete(A, 4, "k")):
        db.heard(late, 1.0)
    assert told(db) == {"k": (None, b"new")}


def test_a_live_entry_beats_a_tombstone_of_the_same_time() -> None:
    """The tombstone is one that a peer made in the owner's name (known fault 2)."""
    db, _ = database(A)
    db.heard(sync(A, 9, delete(A, 5, "k")), 1.0)
    db.heard(create(A, 5, "k"), 1.0)
    assert told(db) == {"k": (None, b"v")}


def test_the_highest_time_wins_and_its_node_is_the_owner() -> None:
    db, wire = database(A, B)
    db.heard(create(A, 5, "k", b"a"), 1.0)
    db.heard(create(B, 6, "k", b"b"), 1.0)
    assert dump(db, wire, 1.0)["k"].node_name == B
    db.heard(off(A, 9), 1.0)
    assert told(db) == {"k": (None, b"b")}


def test_entries_of_networks_and_nodes_that_are_not_known_are_dropped() -> None:
    db, _ = database(A)
    db.heard(messages.table_event(messages.CREATE, 5, A, "other", "t", "k", b"v"), 1.0)
    db.heard(create("stranger", 5, "k"), 1.0)
    assert told(db) == {}
    assert db.statistics().entries == 0


def test_an_entry_waits_a_moment_for_the_word_that_its_owner_is_on_the_network() -> None:
    db, _ = database(A)
    db.member_joined(Peer(B, B), 1.0)
    db.heard(create(B, 5, "k"), 1.0)
    assert told(db) == {}
    db.heard(on(B, 9), 2.0)
    assert told(db) == {"k": (None, b"v")}
    db.heard(create("cccccccccccc", 5, "late"), 2.0)
    db.tick(30.0)
    db.member_joined(Peer("cccccccccccc", "c"), 30.0)
    db.heard(on("cccccccccccc", 9), 30.0)
    assert told(db) == {}


def test_every_received_time_moves_the_clock() -> None:
    db, wire = database(A)
    db.heard(create("stranger", 500, "k"), 1.0)
    db.put("t", NET, "own", b"v", 1.0)
    assert dump(db, wire, 1.0)["own"].l_time > 500


def test_an_event_of_an_impossible_time_is_refused_and_the_clock_stays() -> None:
    db, wire = database(A)
    for time in (2**64 - 1, 2**63):
        db.heard(create(A, time, "k"), 1.0)
        db.heard(on(A, time, "x"), 1.0)
        db.heard(messages.node_event(pb.NodeEvent.LEAVE, time, A), 1.0)
        db.heard(messages.bulk_sync(time, True, A, [NET], messages.EMPTY_COMPOUND), 1.0)
    assert told(db) == {}
    assert db.peers(NET) == sorted([A, SELF])
    assert db.statistics().counts["times that nobody can have"] == 8
    db.put("t", NET, "own", b"v", 1.0)
    assert dump(db, wire, 1.0)["own"].l_time < 100


def test_a_leap_of_the_clock_is_followed_and_the_swarm_goes_on() -> None:
    """Somebody forges a time far ahead. The next events of all nodes are later still, and are accepted."""
    one, wire = database(A)
    other, _ = database(SELF, A, name=B)
    for db in (one, other):
        db.heard(create(A, 1 << 44, "forged"), 1.0)
    one.put("t", NET, "own", b"v", 1.0)
    one.tick(1.0)
    for packet in wire.packets():
        other.heard(packet, 1.1)
    assert told(other) == {"forged": (None, b"v"), "own": (None, b"v")}


def test_a_leave_of_a_network_purges_the_nodes_entries_there_and_is_passed_on() -> None:
    db, _ = database(A, B)
    db.heard(create(A, 5, "a"), 1.0)
    db.heard(create(B, 5, "b"), 1.0)
    told(db)
    db.heard(off(A, 9), 1.0)
    assert told(db) == {"a": (b"v", None)}
    assert db.peers(NET) == sorted([B, SELF])
    assert db.statistics().entries == 1
    assert off(A, 9) in db.broadcasts(3, 1400, 1.0)
    db.heard(on(A, 8), 1.0)
    assert db.peers(NET) == sorted([B, SELF])
    db.heard(on(A, 10), 1.0)
    assert db.peers(NET) == sorted([A, B, SELF])


def test_a_leave_of_the_swarm_purges_all_of_the_node_and_is_passed_on_once() -> None:
    db, _ = database(A, B)
    db.heard(create(A, 5, "a"), 1.0)
    told(db)
    leave = messages.node_event(pb.NodeEvent.LEAVE, 9, A)
    db.heard(leave, 1.0)
    assert told(db) == {"a": (b"v", None)}
    assert db.peers(NET) == sorted([B, SELF])
    assert db.broadcasts(3, 1400, 1.0) == [leave]
    while db.broadcasts(3, 1400, 1.0):
        pass
    db.heard(leave, 1.0)
    assert db.broadcasts(3, 1400, 1.0) == []
    # a node of which others say that it left contradicts
    db.heard(messages.node_event(pb.NodeEvent.JOIN, 12, A), 1.0)
    db.heard(on(A, 13), 1.0)
    assert db.peers(NET) == sorted([A, B, SELF])


def test_a_false_leave_of_this_node_is_contradicted() -> None:
    db, _ = database(A)
    db.heard(messages.node_event(pb.NodeEvent.LEAVE, 40, SELF), 1.0)
    (message,) = db.broadcasts(3, 1400, 1.0)
    event = messages.read_node_event((messages.unwrap(message) or (0, b""))[1])
    assert event is not None
    assert (event.type, event.node_name) == (pb.NodeEvent.JOIN, SELF)
    assert event.l_time > 40


def test_a_network_event_of_a_node_that_is_not_here_is_dropped() -> None:
    db, _ = database(A)
    db.heard(on("stranger", 5), 1.0)
    assert db.statistics().attachments == 2
    assert db.broadcasts(3, 1400, 1.0) == []


def test_what_a_bulk_sync_brought_is_passed_on_only_while_little_waits() -> None:
    db, _wire = database(A, B)
    db.heard(sync(A, 9, *(create(A, 10 + n, f"k{n}") for n in range(600))), 1.0)
    while db.next_tick() < 1.0:
        db.tick(1.0)
    assert db.statistics().entries == 600
    assert 500 <= db.statistics().queued_relayed <= 501


def test_an_unknown_tombstone_is_passed_on_only_if_others_may_have_missed_it() -> None:
    db, wire = database(A, B)
    db.heard(delete(A, 5, "by packet"), 1.0)
    db.heard(sync(A, 9, delete(A, 6, "by sync"), delete(A, 7, "nearly over", 300)), 1.0)
    assert db.statistics().tombstones == 3
    assert relayed(db, wire, 1.0) == ["by sync"]


def test_the_number_of_entries_is_bounded_but_known_ones_still_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ENTRIES", 10)
    db, _ = database(A)
    for number in range(20):
        db.heard(create(A, 5 + number, str(number)), 1.0)
    assert db.statistics().entries == 10
    assert db.statistics().counts["entries beyond the limit"] == 10
    told(db)
    db.heard(update(A, 50, "3"), 1.0)
    db.heard(delete(A, 51, "4"), 1.0)
    db.put("t", NET, "own", b"v", 1.0)
    assert told(db) == {"3": (b"v", b"u"), "4": (b"v", None), "own": (None, b"v")}


def test_the_number_of_attachments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_NETWORKS", 5)
    db, _ = database(A)
    for number in range(20):
        db.heard(on(A, 5 + number, f"n{number}"), 1.0)
    assert db.statistics().counts["attachments beyond the limit"] == 16


@pytest.mark.parametrize("way", ["packet", "sync"])
def test_each_order_of_create_update_and_delete_leaves_the_latest(way: str) -> None:
    """Known fault 3, also for keys that were never seen."""
    events = [create(A, 5, "k", b"1"), update(A, 6, "k", b"2"), delete(A, 7, "k"), update(A, 8, "k", b"3")]
    for count in range(1, 5):
        for some in permutations(range(4), count):
            db, wire = database(A)
            for number in some:
                db.heard(events[number] if way == "packet" else sync(A, 9, events[number]), 1.0)
            latest = max(some)
            entry = dump(db, wire, 1.0)["k"]
            assert entry.l_time == latest + 5
            assert (entry.type == messages.DELETE) == (latest == 2)
            assert told(db) == ({} if latest == 2 else {"k": (None, entry.value)})
