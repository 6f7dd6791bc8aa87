import random

from shoal.network.networkdb.members import Members
from shoal.network.networkdb.rejoining import ALONE_EVERY, CHECK_EVERY, MOST_CONTACTS, Rejoining, contacts_of
from tests.unit.network.networkdb.wires import Peer

MANAGER = ("10.0.0.1", 7946)


def test_a_node_alone_calls_the_managers_again_and_again() -> None:
    rejoining, members, rng = Rejoining((MANAGER,), 0.0), Members(), random.Random(1)
    for number in range(50):
        assert rejoining.next(members) == number * ALONE_EVERY or (number == 0 and rejoining.next(members) <= 0.0)
        assert rejoining.due(members, rng, number * ALONE_EVERY) == [MANAGER]
        assert rejoining.due(members, rng, number * ALONE_EVERY) == []


def test_with_members_managers_are_looked_for_each_minute_and_called_if_none_is_there() -> None:
    rejoining, members, rng = Rejoining((MANAGER,), 0.0), Members(), random.Random(1)
    members.joined(Peer("w", "10.0.0.9"), 0.0)
    assert rejoining.due(members, rng, 0.0) == [MANAGER]
    assert rejoining.next(members) == CHECK_EVERY
    members.joined(Peer("m", "10.0.0.1"), 0.0)
    assert rejoining.due(members, rng, CHECK_EVERY) == []


def test_each_second_one_of_the_failed_is_called() -> None:
    rejoining, members, rng = Rejoining((), 0.0), Members(), random.Random(1)
    assert rejoining.next(members) == float("inf")
    for name in ("a", "b", "c"):
        members.joined(Peer(name, name), 0.0)
    members.silent(Peer("a", "a"), 0.0)
    members.silent(Peer("b", "b"), 0.0)
    called = [rejoining.due(members, rng, float(second)) for second in range(20)]
    assert {contact for (contact,) in called} == {("a", 7946), ("b", 7946)}
    assert rejoining.due(members, rng, 19.5) == []
    members.said("a", True, 20.0)
    members.said("b", True, 20.0)
    assert rejoining.due(members, rng, 30.0) == []


def test_one_that_never_answered_is_not_called_when_it_is_silent() -> None:
    """Whoever has a key can make members up: no node is to call any address that he names, for a day."""
    rejoining, members, rng = Rejoining((), 0.0), Members(), random.Random(1)
    forged = Peer("a", "198.51.100.7", answered=False)
    members.joined(forged, 0.0)
    members.silent(forged, 1.0)
    assert rejoining.due(members, rng, 10.0) == []
    members.joined(Peer("a", "198.51.100.7"), 11.0)
    members.silent(Peer("a", "198.51.100.7"), 12.0)
    assert rejoining.due(members, rng, 13.0) == [("198.51.100.7", 7946)]


def test_contacts_are_addresses_of_others_each_once_and_not_too_many() -> None:
    said = ["10.9.0.2", "10.9.0.3", "10.9.0.2", "10.9.0.1", "manager", ""]
    assert contacts_of(said, 7946, "10.9.0.1") == (("10.9.0.2", 7946), ("10.9.0.3", 7946))
    assert len(contacts_of([f"10.9.9.{number}" for number in range(200)], 7946, "")) == MOST_CONTACTS
