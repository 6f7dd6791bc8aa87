"""Which nodes a node calls so that it is not alone."""

import random

from shoal.network.gossip.contacts import MAX_CONTACTS, MAX_FAILED, Contacts, Place
from tests.unit.network.gossip.fakes import NOW, Node, place


class Calls:
    def __init__(self, *members: int) -> None:
        self.node = Node(*members)
        self.made: list[tuple[Place, float]] = []
        list_ = self.node.list
        self.contacts = Contacts(
            list_.config, list_.table, random.Random(2), lambda place, now: self.made.append((place, now)), NOW
        )

    def tick(self, until: float) -> list[Place]:
        self.made.clear()
        while (due := self.contacts.next_at()) <= until:
            self.contacts.tick(due)
        return [place for place, _ in self.made]


def test_contacts_are_called_at_once_and_while_none_of_them_is_a_member() -> None:
    calls = Calls(5)
    calls.contacts.join(["10.9.0.2", "10.9.0.3", "10.9.0.2", "10.9.0.1", "manager"], NOW)
    assert [where for where, _ in calls.made] == [place(2), place(3)]
    assert calls.tick(NOW + 25) == [place(2), place(3)] * 2


def test_contact_that_is_a_member_is_enough() -> None:
    calls = Calls(2)
    calls.contacts.join(["10.9.0.2", "10.9.0.3"], NOW)
    assert calls.tick(NOW + 60) == []


def test_many_contacts_are_cut_off() -> None:
    calls = Calls()
    calls.contacts.join([f"10.9.9.{number}" for number in range(200)], NOW)
    assert len(calls.made) == MAX_CONTACTS


def test_failed_member_is_called_each_second_until_it_returns() -> None:
    calls = Calls()
    calls.contacts.failed(place(2), NOW)
    assert calls.tick(NOW + 10) == [place(2)] * 10
    calls.contacts.returned(place(2))
    calls.contacts.returned(place(3))
    assert calls.tick(NOW + 20) == []


def test_failed_member_is_given_up_after_a_day() -> None:
    calls = Calls()
    calls.contacts.failed(place(2), NOW)
    calls.contacts.tick(NOW + 86_401)
    assert calls.made == []
    assert calls.contacts.next_at() > NOW + 86_401


def test_failed_members_are_limited() -> None:
    calls = Calls()
    for number in range(MAX_FAILED + 5):
        calls.contacts.failed(place(number), NOW)
    assert len(calls.contacts._failed) == MAX_FAILED
    assert place(4) not in calls.contacts._failed


def test_who_leaves_calls_nobody() -> None:
    calls = Calls()
    calls.contacts.join(["10.9.0.2"], NOW)
    calls.contacts.failed(place(3), NOW)
    calls.node.list.leave(NOW)
    assert calls.tick(NOW + 60) == []
