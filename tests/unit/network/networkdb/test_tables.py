import pytest

from shoal.network.networkdb import messages
from shoal.network.networkdb import tables as module
from shoal.network.networkdb.tables import Entry, Key, Tables, say
from tests.unit.network.networkdb.wires import events_in


def test_an_entry_that_changes_its_owner_is_the_new_ones_alone() -> None:
    tables = Tables()
    tables.store("net", Key("t", "k"), Entry("a", 1, b"1"))
    tables.store("net", Key("t", "k"), Entry("b", 2, b"2"))
    assert tables.owned("net", "a") == []
    assert tables.owned("net", "b") == [Key("t", "k")]
    assert len(tables) == tables.size("net") == 1


def test_nothing_is_left_of_what_is_removed() -> None:
    tables = Tables()
    tables.store("net", Key("t", "k"), Entry("a", 1, b"1", deleting=True, reap_at=50.0))
    assert tables.tombstones == 1
    tables.remove("net", Key("t", "k"))
    tables.remove("net", Key("t", "k"))
    assert (len(tables), tables.bytes, tables.tombstones, tables._networks, tables._owned) == (0, 0, 0, {}, {})


def test_a_tombstone_is_reaped_shortly_before_its_end_and_no_other() -> None:
    tables = Tables()
    tables.store("net", Key("t", "k"), Entry("a", 1, b"", deleting=True, reap_at=50.0))
    tables.store("net", Key("t", "again"), Entry("a", 1, b"", deleting=True, reap_at=50.0))
    tables.store("net", Key("t", "again"), Entry("a", 2, b"live"))
    assert tables.reap(43.0) == []
    assert tables.reap(44.0) == [("net", Key("t", "k"))]
    assert len(tables) == 1


def test_there_is_room_up_to_a_number_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 1)
    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    tables = Tables()
    assert tables.room_for("net", b"")
    assert not tables.room_for("net", bytes(1000))
    tables.store("net", Key("t", "k"), Entry("a", 1, b""))
    assert not tables.room_for("net", b"")
    assert tables.room_for("net", b"", known=True)
    assert tables.room_for("other", b"")


def test_an_entry_is_said_as_a_create_and_a_tombstone_with_the_rest_of_its_time() -> None:
    live = Entry("a", 7, b"v", kind=messages.UPDATE)
    dead = Entry("b", 8, b"v", deleting=True, reap_at=100.0)
    packet = messages.compound(say("net", Key("t", "k"), entry, 40.5) for entry in (live, dead))
    first, second = events_in(packet)
    assert (first.type, first.l_time, first.node_name, first.residual_reap_time) == (messages.CREATE, 7, "a", 0)
    assert (second.type, second.l_time, second.node_name, second.residual_reap_time) == (messages.DELETE, 8, "b", 59)
