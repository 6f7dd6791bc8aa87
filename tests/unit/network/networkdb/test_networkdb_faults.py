"""Known faults of Docker's gossip, 1 to 10, each as a test; those that need many nodes are in the simulation."""

from itertools import permutations

import pytest

from shoal.network.networkdb import messages
from shoal.network.networkdb.queues import PACKET
from tests.unit.network.networkdb.wires import (
    NET,
    SELF,
    TABLE,
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


def test_1_a_failed_nodes_entries_are_hidden_and_shown_again_when_it_returns() -> None:
    db, _ = database(A, B)
    db.heard(create(A, 5, "stays"), 1.0)
    db.heard(create(A, 6, "deleted meanwhile"), 1.0)
    told(db)
    db.member_failed(Peer(A, A), 2.0)
    assert told(db) == {"stays": (b"v", None), "deleted meanwhile": (b"v", None)}
    assert db.peers(NET) == sorted([B, SELF])
    # somebody else still hears of it, so it counts, but is not shown
    db.heard(sync(B, 9, delete(A, 8, "deleted meanwhile"), create(A, 9, "new")), 10.0)
    assert told(db) == {}
    db.member_joined(Peer(A, A), 30.0)
    assert told(db) == {"stays": (None, b"v"), "new": (None, b"v")}
    assert db.peers(NET) == sorted([A, B, SELF])
    db.heard(create(A, 12, "after"), 30.0)
    assert told(db) == {"after": (None, b"v")}


def test_1_an_end_tells_a_silent_node_and_one_that_was_started_again_from_what_its_owner_took_away() -> None:
    db, _ = database(A, B)
    db.heard(create(A, 5, "a"), 1.0)
    db.heard(create(A, 6, "deleted"), 1.0)
    db.heard(sync(B, 7, create(B, 7, "b")), 1.0)
    told(db)
    db.heard(delete(A, 8, "deleted"), 2.0)
    db.member_failed(Peer(A, A), 2.0)
    db.member_joined(Peer("started again", B), 2.0)
    assert {change.key: change.end for change in db.take_changes()} == {
        "deleted": "deleted",
        "a": "silent",
        "b": "replaced",
    }
    db.member_left(Peer(A, A), 3.0)
    assert told(db) == {}


def test_1_nodes_that_saw_each_other_fail_sync_within_seconds_of_the_return() -> None:
    db, wire = database(A)
    db.member_failed(Peer(A, A), 2.0)
    db.member_joined(Peer(A, A), 6.0)
    now = 6.0
    while not (found := wire.syncs()):
        now = max(db.next_tick(), now)
        assert now < 9.0
        db.tick(now)
    assert found[0][0] == A


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_2_leave_join_and_create_in_any_order_end_alive(order: tuple[int, ...]) -> None:
    db, wire = database(A)
    events = [off(A, 5), on(A, 6), create(A, 7, "k")]
    for number in order:
        db.heard(events[number], 1.0)
    # One order needs the node itself: what was lost is asked for at once.
    now = 1.0
    for _ in range(20):
        now = max(db.next_tick(), now + 0.2)
        if now > 5.0:
            break
        db.tick(now)
        for name, request in wire.syncs():
            assert name == A
            answer = messages.bulk_sync(request.l_time + 1, False, A, [NET], messages.compound([create(A, 7, "k")]))
            db.heard(answer, now)
    assert told(db) == {"k": (None, b"v")}
    assert dump(db, wire, 5.0)["k"].type == messages.CREATE


def test_3_a_delete_before_its_create_leaves_a_tombstone() -> None:
    db, wire = database(A)
    db.heard(delete(A, 7, "k"), 1.0)
    db.heard(create(A, 6, "k"), 1.0)
    assert told(db) == {}
    assert dump(db, wire, 1.0)["k"].type == messages.DELETE


def test_4_entries_are_there_only_while_their_owner_is_a_member() -> None:
    db, wire = database(A, B)
    db.heard(create(B, 5, "k"), 1.0)
    db.member_left(Peer(B, B), 2.0)
    db.heard(create(B, 6, "late"), 2.0)
    db.heard(sync(A, 9, create(B, 7, "by sync")), 2.0)
    db.heard(on(B, 9), 2.0)
    assert dump(db, wire, 2.0) == {}
    db.tick(60.0)
    assert db.statistics().entries == 0


def test_5_an_update_carries_the_whole_former_value() -> None:
    """1,000 replacements on a peer that missed the deletes."""
    db, _ = database(A)
    shown: bytes | None = None
    for number in range(1000):
        if number % 3 == 0:
            db.heard(delete(A, 10 * number + 10, "k"), 1.0)
        db.heard(create(A, 10 * number + 12, "k", b"%d" % number), 1.0)
        db.heard(update(A, 10 * number + 13, "k", b"new %d" % number), 1.0)
        if number % 5 == 0:
            assert told(db) == {"k": (shown, b"new %d" % number)}
            shown = b"new %d" % number
    db.heard(delete(A, 20_000, "k"), 1.0)
    assert told(db) == {"k": (shown, None)}


def test_6_no_packet_is_over_its_limit_and_what_is_not_sent_is_not_counted() -> None:
    """Broadcasts and table packets; the queues' own tests have the rest."""
    db, wire = database(A, *(f"{number:012x}" for number in range(30)))
    for number in range(300):
        db.put(TABLE, NET, f"own{number}", bytes(100 + number), 1.0)
        db.heard(create(A, 5 + number, f"theirs{number}", bytes(100 + number)), 1.0)
        db.join_network(f"network{number}", 1.0)
    limits = [1369, 700, 100, 40, 10, 0]
    broadcast = set()
    for turn in range(2000):
        limit = limits[turn % len(limits)]
        drawn = db.broadcasts(3, limit, 1.0)
        assert sum(len(message) + 3 for message in drawn) <= limit
        broadcast.update(drawn)
    assert len(broadcast) == 300
    told_of: dict[str, int] = {}
    now = 1.0
    while db.statistics().queued_own + db.statistics().queued_relayed:
        now += 0.2
        db.tick(now)
        packets = wire.packets()
        assert max(map(len, packets), default=0) <= PACKET
        for packet in set(packets):
            for event in events_in(packet):
                told_of[event.key] = told_of.get(event.key, 0) + 1
    assert len(told_of) == 600
    assert set(told_of.values()) == {8}


def test_7_joining_again_loses_nothing_that_waits() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    db.join_network(NET, 1.0)
    assert db.broadcasts(3, 1400, 1.0) == []
    db.tick(1.0)
    assert [event.key for event in events_in(wire.packets()[0])] == ["k"]


def test_7_an_own_event_is_out_at_once_under_a_flood() -> None:
    db, wire = database(A, B, "cccccccccccc")
    for number in range(10_000):
        db.heard(create(A, 5 + number, f"k{number}", bytes(100)), 1.0)
    db.put(TABLE, NET, "own", b"v", 1.0)
    while not (packets := wire.packets()):
        now = max(1.0, db.next_tick())
        assert now <= 1.2
        db.tick(now)
    assert events_in(packets[0])[0].key == "own"


def test_8_a_tombstone_keeps_its_owner_and_the_rest_of_its_time() -> None:
    first, first_wire = database(A, B)
    first.heard(sync(B, 9, delete(A, 7, "k", residual=100)), 0.0)
    second, second_wire = database(A)
    said = dump(first, first_wire, 40.0)["k"]
    assert (said.node_name, said.residual_reap_time) == (A, 60)
    second.heard(sync(A, 12, messages.wrap(messages.TABLE, said.SerializeToString())), 40.0)
    assert dump(second, second_wire, 41.0)["k"].residual_reap_time == 59
    second.tick(101.0)
    assert second.statistics().tombstones == 0


@pytest.mark.parametrize("residual", [0, -5, 2**31 - 1])
def test_8_a_residual_that_cannot_be_is_a_whole_life(residual: int) -> None:
    db, wire = database(A)
    db.heard(delete(A, 7, "k", residual), 0.0)
    assert dump(db, wire, 0.0)["k"].residual_reap_time == 1800


def test_9_a_node_whose_peers_all_failed_keeps_calling_them_and_the_managers() -> None:
    manager = ("10.0.0.1", 7946)
    db, wire = database(A, B, contacts=(manager,))
    for peer in (A, B):
        db.member_failed(Peer(peer, peer), 1.0)
    now = 1.0
    while now < 601.0:
        now = max(db.next_tick(), now)
        db.tick(now)
    assert wire.joined.count((A, 7946)) > 200
    assert wire.joined.count((B, 7946)) > 200
    assert wire.joined.count(manager) >= 100


def test_a_node_that_leaves_calls_nobody() -> None:
    db, wire = database(A, B, contacts=(("10.0.0.1", 7946),))
    db.member_failed(Peer(A, A), 1.0)
    db.leave(2.0)
    now = 2.0
    while now < 120.0:
        now = max(db.next_tick(), now)
        db.tick(now)
    assert wire.joined == []


def test_9_a_network_is_there_although_the_first_join_failed() -> None:
    db, wire = database(contacts=(("10.0.0.1", 7946),))
    db.put(TABLE, NET, "k", b"v", 1.0)
    assert told(db) == {"k": (None, b"v")}
    db.tick(20.0)
    assert wire.joined
    db.member_joined(Peer(A, A), 21.0)
    db.heard(on(A, 1), 21.0)
    db.tick(22.0)
    assert [event.key for event in events_in(wire.packets()[0])] == ["k"]
    assert wire.syncs()[0][0] == A


def test_10_leaving_ends_whether_or_not_somebody_hears_it() -> None:
    db, _ = database()
    db.leave(1.0)
    assert db.leave_is_told
    db, _ = database(A)
    db.leave(1.0)
    assert not db.leave_is_told
    # a peer that repeats it is not contradicted
    (leave,) = db.broadcasts(3, 1400, 1.0)
    db.heard(leave, 1.0)
    while db.broadcasts(3, 1400, 1.0):
        pass
    assert db.leave_is_told
