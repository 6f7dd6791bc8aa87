"""An agenda: times by key."""

from shoal.manager.deciding.agenda import Agenda


def test_keys_come_out_when_they_are_due_and_once() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("late", 3.0)
    agenda.put("early", 1.0)
    assert agenda.next_at() == 1.0
    assert agenda.due(2.0) == ["early"]
    assert agenda.due(2.0) == []
    assert agenda.next_at() == 3.0
    assert agenda.due(3.0) == ["late"]
    assert agenda.next_at() is None


def test_the_last_time_set_wins() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("a", 1.0)
    agenda.put("a", 5.0)
    assert agenda.due(2.0) == []
    agenda.put("a", 1.5)
    assert agenda.due(2.0) == ["a"]
    assert len(agenda) == 0
    assert agenda.next_at() is None


def test_a_dropped_key_does_not_come() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.put("a", 1.0)
    agenda.drop("a")
    agenda.drop("never there")
    assert agenda.next_at() is None
    assert agenda.due(9.0) == []
