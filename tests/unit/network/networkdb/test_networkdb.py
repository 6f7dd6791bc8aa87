from itertools import pairwise

import pytest

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.bulk_sync import ANSWERS_AT_ONCE, EVERY, SLICE
from shoal.network.networkdb.networkdb import ANNOUNCE_EVERY
from shoal.network.networkdb.reaping import HIDDEN
from tests.unit.network.networkdb.wires import (
    NET,
    SELF,
    TABLE,
    Peer,
    create,
    database,
    delete,
    events_in,
    off,
    on,
    sync,
    told,
    update,
)

A, B = "asker", "bbbbbbbbbbbb"


def push_pull(node: str, l_time: int, *entries: tuple[str, int, str, bool]) -> bytes:
    state = pb.NetworkPushPull(l_time=l_time, node_name=node)
    for name, time, network, leaving in entries:
        state.networks.add(node_name=name, l_time=time, network_id=network, leaving=leaving)
    return messages.wrap(pb.GossipMessage.PUSH_PULL, state.SerializeToString())


def test_a_push_pull_tells_all_attachments_and_stamps_own_ones_when_it_joins() -> None:
    db, _ = database(A, networks=["x", "y"])
    db.leave_network("y", 1.0)
    before = messages.read_push_pull(db.local_state(False, 1.0))
    after = messages.read_push_pull(db.local_state(True, 1.0))
    assert before is not None
    assert after is not None
    told_of = {(e.node_name, e.network_id): (e.l_time, e.leaving) for e in before.networks}
    assert told_of.keys() == {(SELF, "x"), (SELF, "y"), (A, "x"), (A, "y")}
    assert told_of[SELF, "y"][1]
    stamped = {(e.node_name, e.network_id): e.l_time for e in after.networks}
    assert stamped[SELF, "x"] > before.l_time
    assert stamped[SELF, "y"] == told_of[SELF, "y"][0]
    assert after.l_time == before.l_time + 1


def test_messages_that_come_while_others_wait_work_none_of_them_off() -> None:
    """A datagram has hundreds: each took five hundred of those that waited, before anything else had its turn."""
    db, _ = database(A)
    many = [create(A, 10 + number, f"k{number}") for number in range(4 * SLICE)]
    db.heard(messages.compound(many), 1.0)
    assert db.statistics().entries == SLICE
    for _ in range(100):
        db.heard(messages.EMPTY_COMPOUND, 1.0)
    assert db.statistics().entries == SLICE
    while db.next_tick() < 1.0:
        db.tick(1.0)
    assert db.statistics().entries == 4 * SLICE


def test_attachments_are_learnt_by_push_pull_and_not_gossiped() -> None:
    db, _ = database(A)
    db.member_joined(Peer(B, "10.9.0.2"), 1.0)
    db.merge_state(push_pull(A, 9, (B, 5, NET, False), (A, 8, NET, True), ("stranger", 3, NET, False)), False, 1.0)
    assert db.peers(NET) == sorted([B, SELF])
    assert dict(db.peer_addresses(NET)) == {B: "10.9.0.2", SELF: ""}
    assert db.broadcasts(3, 1400, 1.0) == []
    for bad in (b"", b"\xff", messages.EMPTY_COMPOUND, push_pull("", 1), push_pull(A, 20, (B, 9, "a/b", False))):
        db.merge_state(bad, True, 1.0)
    assert db.peers(NET) == sorted([B, SELF])


def test_a_bulk_sync_is_answered_at_once_with_a_later_time() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "own", b"v", 1.0)
    db.heard(sync(A, 40, create(A, 39, "theirs"), unsolicited=True), 1.0)
    ((name, answer),) = wire.syncs()
    assert name == A
    assert not answer.unsolicited
    assert answer.l_time > 40
    assert list(answer.networks) == [NET]
    assert {event.key for event in events_in(answer.payload)} == {"own", "theirs"}
    db.heard(sync(A, 41), 1.0)
    assert wire.syncs() == []
    db.heard(sync("stranger", 42, unsolicited=True), 1.0)
    assert wire.syncs() == []


def test_who_floods_with_bulk_syncs_is_answered_at_a_rate() -> None:
    db, wire = database(A)
    for number in range(1000):
        db.heard(sync(A, 40 + number, unsolicited=True), 1.0)
    assert len(wire.syncs()) == ANSWERS_AT_ONCE
    assert db.next_tick() < 1.5
    db.tick(1.5)
    assert len(wire.syncs()) == 1
    db.tick(2.5)
    assert wire.syncs() == []


def test_joining_a_network_asks_its_nodes() -> None:
    db, wire = database(A, B, networks=["x"])
    db.heard(on(A, 9, "y"), 1.0)
    db.join_network("y", 1.0)
    db.tick(1.0)
    ((name, request),) = wire.syncs()
    assert name == A
    assert request.unsolicited
    assert set(request.networks) == {"x", "y"}


def test_a_bulk_sync_comes_each_half_minute() -> None:
    db, wire = database(A)
    times = []
    now = 0.0
    while now < 300:
        now = db.next_tick()
        db.tick(now)
        for name, request in wire.syncs():
            times.append(now)
            db.heard(messages.bulk_sync(request.l_time + 1, False, name, [NET], messages.EMPTY_COMPOUND), now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) >= 9
    assert all(0.8 * EVERY <= gap <= EVERY for gap in gaps)


def test_a_long_bulk_sync_is_taken_in_slices() -> None:
    db, _ = database(A)
    count = 5 * SLICE
    db.heard(sync(A, 9, *(create(A, 10 + n, f"k{n}") for n in range(count))), 1.0)
    assert db.statistics().entries == SLICE
    ticks = 0
    while db.next_tick() < 1.0:
        db.tick(1.0)
        ticks += 1
    assert db.statistics().entries == count
    assert ticks <= 5
    assert db.statistics().backlog_bytes == 0


def test_compounds_within_compounds_are_refused() -> None:
    db, _ = database(A)
    message = create(A, 5, "k")
    for _ in range(3):
        message = messages.compound([message])
    db.heard(message, 1.0)
    db.heard(messages.compound([sync(A, 9, create(A, 5, "k"))]), 1.0)
    assert told(db) == {}
    assert db.statistics().counts["messages that are none"] == 2


def test_a_node_with_nothing_to_say_sleeps() -> None:
    db, wire = database(A)
    ticks = 0
    now = 10.0
    while now < 20.0:
        now = max(db.next_tick(), now)
        db.tick(now)
        ticks += 1
    assert ticks <= 4
    assert wire.sent == []


def test_the_first_event_after_a_silence_goes_at_once_and_others_wait_for_the_next_packet() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k1", b"v", 1.0)
    assert db.next_tick() <= 1.0
    db.tick(1.0)
    assert len(wire.packets()) == 1
    db.put(TABLE, NET, "k2", b"v", 1.05)
    db.tick(1.05)
    assert wire.packets() == []
    assert db.next_tick() == pytest.approx(1.2)


def test_what_this_node_writes_is_told_to_all_on_the_network_until_they_confirm_it() -> None:
    db, wire = database(A, B, "cccccccccccc", "dddddddddddd")
    db.heard(off(B, 2), 1.0)
    db.member_failed(Peer("dddddddddddd"), 1.0)
    db.put(TABLE, NET, "k", b"v", 1.0)
    assert (db.written, db.told) == (1, 0)
    assert db.next_tick() <= 1.0
    db.tick(1.0)
    assert [name for name, _, _ in wire.told] == [A, "cccccccccccc"]
    outer = messages.unwrap(wire.told[0][1])
    assert outer is not None
    (joined, event) = messages.parts(outer[1]) or []
    assert messages.unwrap(joined) == messages.unwrap(on(SELF, 1))  # before what it says of the network
    (told_event,) = events_in(messages.compound([event]))
    assert (told_event.node_name, told_event.key, told_event.value) == (SELF, "k", b"v")
    db.confirmed(wire.told[0][2], True, 1.01)
    assert db.statistics().told == 1
    db.confirmed(wire.told[1][2], False, 1.01)
    assert (db.told, db.statistics().told, db.take_silent()) == (1, 0, [])


def test_what_is_deleted_or_left_is_told_no_more() -> None:
    db, _ = database(A, networks=(NET, "other"))
    db.put(TABLE, NET, "k", b"v", 1.0)
    db.put(TABLE, "other", "k", b"v", 1.0)
    db.delete(TABLE, NET, "k", 1.0)
    assert (db.written, db.told) == (2, 1)
    db.leave_network("other", 1.0)
    assert db.told == 2


def test_what_is_put_right_meanwhile_is_told_as_it_is_now() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    db.tick(1.0)
    db.heard(update(SELF, 50, "k", b"forged"), 1.01)
    db.confirmed(wire.told[0][2], True, 1.02)
    assert db.told < db.written
    db.tick(1.03)
    db.confirmed(wire.told[1][2], True, 1.04)
    assert db.told == db.written


def test_who_does_not_confirm_is_named_once() -> None:
    db, _ = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    now = 1.0
    while not db.told:
        now = max(now, db.next_tick())
        db.tick(now)
    assert now == pytest.approx(3.0)
    assert (db.take_silent(), db.take_silent()) == ([A], [])


def test_a_change_costs_as_much_with_ten_thousand_entries_as_with_ten() -> None:
    """Counted in what is sent: a packet to each of three nodes, as often as memberlist sends, and nothing else."""
    costs = []
    for entries in (10, 10_000):
        db, wire = database(A, B, "cccccccccccc", "dddddddddddd")
        for start in range(0, entries, 100):
            db.heard(messages.compound(create(A, 100_000 + n, f"k{n}") for n in range(start, start + 100)), 1.0)
        while db.statistics().queued_relayed:
            db.tick(db.next_tick())
        wire.sent.clear()
        told(db)
        now = db.next_tick()
        db.put(TABLE, NET, "own", b"v", now)
        assert len(told(db)) == 1
        while db.statistics().queued_own:
            now += 0.2
            db.tick(now)
        packets = wire.packets()
        costs.append((len(packets), sum(map(len, packets))))
    assert costs[0] == costs[1]
    assert costs[0][0] == 3 * 4


def test_an_event_that_fits_into_no_packet_goes_by_a_stream() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "long", bytes(5000), 1.0)
    db.tick(1.0)
    ((name, message, reliable),) = wire.sent
    assert (name, reliable) == (A, True)
    assert [event.key for event in events_in(message)] == ["long"]


def test_a_failed_node_is_forgotten_once_its_tombstones_could_be() -> None:
    db, _ = database(A)
    db.heard(create(A, 5, "k"), 1.0)
    db.member_failed(Peer(A, A), 2.0)
    db.tick(2.0 + HIDDEN - 10)
    assert db.statistics().entries == 1
    db.tick(2.0 + HIDDEN)
    assert db.statistics().entries == 0
    assert db.statistics().attachments == 1
    assert db.statistics().failed == 1
    db.tick(2.0 + 25 * 3600)
    assert db.statistics().failed == 0


def test_a_node_that_was_cut_off_says_again_what_it_has_but_not_all_the_time() -> None:
    """Docker's nodes forget a failed node's networks and entries (known fault 1)."""
    db, _wire = database(A, B)
    db.put(TABLE, NET, "own", b"v", 0.0)
    now = 0.0
    announced = []
    while now < 200.0:
        for peer in (A, B):
            db.member_failed(Peer(peer, peer), now)
        db.member_joined(Peer(A, A), now + 1)
        db.member_joined(Peer(B, B), now + 1)
        for _ in range(20):
            now += 0.5
            db.tick(now)
            drawn = [messages.unwrap(message) for message in db.broadcasts(3, 1400, now)]
            if any(found and found[0] == pb.GossipMessage.NETWORK_EVENT for found in drawn):
                announced.append(now)
                while db.broadcasts(3, 1400, now):
                    pass
    assert 200 / ANNOUNCE_EVERY - 2 <= len(announced) <= 200 / ANNOUNCE_EVERY + 1


def test_one_node_that_was_cut_off_does_not_make_all_others_speak() -> None:
    db, _wire = database(A, B, "cccccccccccc")
    db.member_failed(Peer(A, A), 1.0)
    db.member_joined(Peer(A, A), 10.0)
    for now in range(11, 20):
        db.tick(float(now))
    assert db.broadcasts(3, 1400, 20.0) == []


def test_own_broadcasts_go_before_those_that_are_passed_on() -> None:
    db, _ = database(A)
    for number in range(900):
        db.heard(on(A, 5 + number, f"n{number}"), 1.0)
    db.join_network("own", 1.0)
    drawn = db.broadcasts(3, 1369, 1.0)
    first = messages.read_network_event((messages.unwrap(drawn[0]) or (0, b""))[1])
    assert first is not None
    assert (first.node_name, first.network_id) == (SELF, "own")
    assert len(drawn) > 10
    assert db.is_on("own")
    assert not db.is_on("n1")


def test_the_former_name_at_an_address_is_purged() -> None:
    db, _ = database(A)
    db.heard(create(A, 5, "k"), 1.0)
    told(db)
    db.member_joined(Peer("restarted", A), 2.0)
    assert told(db) == {"k": (b"v", None)}
    assert db.peers(NET) == [SELF]


def test_peers_that_failed_or_moved_are_told_of_rightly() -> None:
    db, _ = database(A, B)
    db.member_failed(Peer(A, A), 1.0)
    assert db.peers(NET) == sorted([B, SELF])
    db.member_updated(Peer(B, "elsewhere"), 1.0)
    db.member_left(Peer(B, "elsewhere"), 1.0)
    db.member_left(Peer("stranger", "s"), 1.0)
    db.member_joined(Peer(SELF, "here"), 1.0)
    assert db.peers(NET) == [SELF]


def test_tombstones_are_dropped_from_the_queue_too() -> None:
    db, _ = database()
    db.put(TABLE, NET, "k", b"v", 1.0)
    db.delete(TABLE, NET, "k", 1.0)
    assert db.statistics().queued_own == 1
    db.tick(2000.0)
    assert db.statistics().queued_own == 0
    assert delete(SELF, 2, "k")
