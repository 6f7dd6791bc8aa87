from ipaddress import ip_address

import pytest

from shoal.api.gen import networkdb_pb2 as pb
from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.network.networkdb import messages
from shoal.network.records import ENDPOINTS, PEERS, EndpointRecord
from tests.unit.network.networkdb.wires import (
    NET,
    SELF,
    TABLE,
    create,
    database,
    delete,
    dump,
    events_in,
    off,
    on,
    sync,
    told,
)

A, B = "asker", "bbbbbbbbbbbb"


def record(disabled: bool) -> bytes:
    return EndpointRecord(name="web.1", address=ip_address("10.0.1.3"), disabled=disabled).encode()


def gossiped(db: object, wire: object, now: float) -> list[pb.TableEvent]:
    """Tick, and return the table events of the packets, each once."""
    db.tick(now)  # type: ignore[attr-defined]
    found = {}
    for packet in wire.packets():  # type: ignore[attr-defined]
        for event in events_in(packet):
            found[event.SerializeToString()] = event
    return list(found.values())


def test_an_own_entry_is_told_and_gossiped() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    assert told(db) == {"k": (None, b"v")}
    (event,) = gossiped(db, wire, 1.0)
    assert (event.type, event.node_name, event.key, event.value) == (messages.CREATE, SELF, "k", b"v")
    db.put(TABLE, NET, "k", b"v", 2.0)
    assert told(db) == {}
    db.delete(TABLE, NET, "k", 2.0)
    db.delete(TABLE, NET, "k", 2.0)
    db.delete(TABLE, NET, "unknown", 2.0)
    assert told(db) == {"k": (b"v", None)}
    (event,) = gossiped(db, wire, 2.0)
    assert (event.type, event.value, event.residual_reap_time) == (messages.DELETE, b"v", 1800)


@pytest.mark.parametrize(
    ("table", "value", "kind"),
    [
        (PEERS, b"x", messages.CREATE),  # old versions take an UPDATE for a DELETE
        (ENDPOINTS, record(disabled=False), messages.CREATE),  # and this one for an error
        (ENDPOINTS, record(disabled=True), messages.UPDATE),
        (ENDPOINTS, b"\xff", messages.CREATE),
        ("other", b"x", messages.UPDATE),
    ],
)
def test_a_new_value_is_said_so_that_old_dockers_understand_it(table: str, value: bytes, kind: int) -> None:
    db, wire = database(A)
    db.put(table, NET, "k", b"first", 1.0)
    db.put(table, NET, "k", value, 1.0)
    (event,) = gossiped(db, wire, 1.0)
    assert event.type == kind
    assert event.value == value


def test_a_key_that_was_deleted_is_not_used_again() -> None:
    db, _ = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    db.delete(TABLE, NET, "k", 1.0)
    with pytest.raises(Conflict):
        db.put(TABLE, NET, "k", b"v", 2.0)


def test_what_cannot_be_written_is_refused() -> None:
    db, _ = database(A)
    db.heard(create(A, 5, "theirs"), 1.0)
    with pytest.raises(NotFound):
        db.put(TABLE, "unknown", "k", b"v", 1.0)
    with pytest.raises(Conflict):
        db.put(TABLE, NET, "theirs", b"v", 1.0)
    for table, key in (("a/b", "k"), (TABLE, ""), (TABLE, "a/b")):
        with pytest.raises(InvalidArgument):
            db.put(table, NET, key, b"v", 1.0)
    with pytest.raises(InvalidArgument):
        db.put(TABLE, NET, "k", bytes(messages.MOST_VALUE + 1), 1.0)
    with pytest.raises(InvalidArgument):
        db.join_network("a/b", 1.0)


def test_own_events_that_come_back_are_dropped() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    (event,) = gossiped(db, wire, 1.0)
    echo = messages.wrap(messages.TABLE, event.SerializeToString())
    db.put(TABLE, NET, "k", b"w", 1.0)
    told(db)
    db.heard(echo, 1.1)
    assert told(db) == {}
    assert db.statistics().counts == {}


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_an_own_entry_that_another_node_writes_is_said_again(kind: str) -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    told(db)
    db.heard(create(A, 50, "k", b"theirs") if kind == "create" else delete(A, 50, "k"), 1.0)
    assert told(db) == {}
    (event,) = gossiped(db, wire, 1.0)
    assert (event.node_name, event.value) == (SELF, b"v")
    assert event.l_time > 50


def test_a_false_tombstone_of_an_own_entry_is_put_right() -> None:
    """Docker's old versions make one with the entry's own time when they think that the node left (known fault 2)."""
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    (event,) = gossiped(db, wire, 1.0)
    db.heard(sync(A, 9, delete(SELF, event.l_time, "k")), 1.5)
    (again,) = gossiped(db, wire, 2.0)
    assert (again.type, again.value) == (messages.CREATE, b"v")
    assert again.l_time > event.l_time


def test_what_a_peer_holds_of_this_node_though_it_was_deleted_long_ago_is_deleted_again() -> None:
    db, wire = database(A)
    db.heard(sync(A, 9, create(SELF, 50, "ghost", b"old")), 1.0)
    (event,) = gossiped(db, wire, 1.0)
    assert (event.type, event.key, event.node_name) == (messages.DELETE, "ghost", SELF)
    assert event.l_time > 50
    assert told(db) == {}


def test_corrections_are_bounded() -> None:
    db, _ = database(A)
    for number in range(5000):
        db.heard(create(SELF, 50 + number, f"ghost{number}"), 1.0)
    assert db.statistics().entries < 300
    assert db.statistics().counts["corrections put off"] > 4000


def test_a_false_word_about_own_networks_is_put_right() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "k", b"v", 1.0)
    while gossiped(db, wire, db.next_tick() if db.next_tick() < 4 else 4.0):
        pass
    db.heard(off(SELF, 70), 5.0)
    (message,) = db.broadcasts(3, 1400, 5.0)
    event = messages.read_network_event((messages.unwrap(message) or (0, b""))[1])
    assert event is not None
    assert (event.type, event.node_name, event.network_id) == (pb.NetworkEvent.JOIN, SELF, NET)
    assert event.l_time > 70
    # they have purged its entries
    assert [entry.key for entry in gossiped(db, wire, 5.0)] == ["k"]
    # and that it is on one which it has left
    db.heard(on(SELF, 90, "other"), 5.0)
    left = [messages.read_network_event((messages.unwrap(m) or (0, b""))[1]) for m in db.broadcasts(3, 1400, 5.0)]
    assert [e.type for e in left if e is not None and e.network_id == "other"] == [pb.NetworkEvent.LEAVE]


def test_leaving_a_network_forgets_others_entries_and_buries_own_ones() -> None:
    db, wire = database(A)
    db.put(TABLE, NET, "own", b"v", 1.0)
    db.heard(create(A, 5, "theirs"), 1.0)
    assert told(db) == {"own": (None, b"v"), "theirs": (None, b"v")}
    db.leave_network(NET, 2.0)
    db.leave_network(NET, 2.0)
    assert told(db) == {"own": (b"v", None), "theirs": (b"v", None)}
    assert db.statistics().entries == db.statistics().tombstones == 1
    assert db.peers(NET) == [A]
    db.join_network(NET, 3.0)
    entry = dump(db, wire, 3.0)["own"]
    assert entry.type == messages.DELETE
    assert entry.l_time > 1


def test_a_network_that_was_left_is_forgotten_in_the_end() -> None:
    db, _ = database()
    db.put(TABLE, NET, "own", b"v", 1.0)
    db.leave_network(NET, 2.0)
    db.tick(1900.0)
    assert db.statistics().entries == 0
    assert db.statistics().attachments == 0
