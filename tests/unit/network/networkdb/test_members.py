import pytest

from shoal.network.networkdb import members as module
from shoal.network.networkdb.members import Members
from tests.unit.network.networkdb.wires import Peer


def test_a_silent_member_has_failed_and_one_that_said_so_has_left() -> None:
    members = Members()
    members.joined(Peer("a", "1"), 0.0)
    members.joined(Peer("b", "2"), 0.0)
    members.silent(Peer("a", "1"), 1.0)
    members.said("b", True, 1.0)
    assert list(members.failed) == ["a"]
    assert list(members.active) == []
    members.said("a", True, 2.0)
    assert list(members.failed) == []
    members.joined(Peer("a", "1"), 3.0)
    assert list(members.active) == ["a"]


def test_a_new_name_at_an_address_says_that_the_older_has_left() -> None:
    members = Members()
    members.joined(Peer("old", "1"), 0.0)
    assert members.joined(Peer("new", "1"), 1.0) == "old"
    assert not members.is_active("old")
    assert members.joined(Peer("new", "1"), 1.0) is None
    assert members.at("1", 7946)
    assert members.joined(Peer("other port", "1", 1), 1.0) is None


def test_a_member_that_moved_is_found_at_its_new_address() -> None:
    members = Members()
    members.joined(Peer("a", "1"), 0.0)
    members.updated(Peer("a", "2"))
    assert not members.at("1", 7946)
    assert members.at("2", 7946)
    assert members.joined(Peer("b", "1"), 0.0) is None
    members.updated(Peer("unknown", "3"))
    assert members.get("unknown") is None


def test_the_gone_are_forgotten_after_their_time() -> None:
    members = Members()
    for number in range(3):
        members.joined(Peer(str(number), str(number)), 0.0)
        members.silent(Peer(str(number)), float(number))
    members.joined(Peer("1", "1"), 5.0)
    assert members.forget(1.0) == ["0"]
    assert members.forget(100.0) == ["2"]
    assert members.get("1") is not None
    assert not members.at("0", 7946)


def test_of_too_many_that_are_gone_the_longest_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GONE", 10)
    members = Members()
    for number in range(15):
        members.joined(Peer(str(number), str(number)), 0.0)
        members.silent(Peer(str(number)), float(number))
    assert members.forget(-1.0) == ["0", "1", "2", "3", "4"]
    assert members.forget(-1.0) == []
