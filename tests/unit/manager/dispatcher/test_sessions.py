"""Registrations, heartbeats, and the meaning of silence (SwarmKit's constants and texts)."""

from itertools import count

import pytest

from shoal.errors import InvalidArgument, NotFound, Unavailable
from shoal.manager.dispatcher.sessions import (
    CHANGE_LIMIT,
    ORPHAN_AFTER,
    Sessions,
)


def sessions() -> Sessions:
    numbers = count(1)
    return Sessions(lambda low, high: 0.0, lambda: f"session-{next(numbers)}")


def test_a_node_must_be_registered_and_offer_its_live_session() -> None:
    held = sessions()
    with pytest.raises(NotFound, match=r"^node not registered$"):
        held.check("n1", "x")
    session = held.register("n1", 0.0)
    held.check("n1", session)
    for wrong in ("", "x"):
        with pytest.raises(InvalidArgument, match=r"^session invalid$"):
            held.check("n1", wrong)
    newer = held.register("n1", 1.0)
    assert not held.is_live("n1", session)
    assert held.is_live("n1", newer)


def test_three_missed_periods_end_a_registration() -> None:
    held = sessions()
    session = held.register("n1", 0.0)
    assert held.next_look() == 15.0
    assert held.beat("n1", session, 10.0) == 5.0
    assert held.expired(24.9) == []
    assert [gone.session_id for gone in held.expired(25.0)] == [session]
    assert not held.is_registered("n1")
    assert held.next_look() == 25.0 + ORPHAN_AFTER


def test_a_node_of_the_former_leader_has_six_periods_and_no_session() -> None:
    held = sessions()
    held.expect("n1", 0.0)
    with pytest.raises(InvalidArgument, match="session invalid"):
        held.beat("n1", "session-0", 1.0)
    assert held.expired(29.9) == []
    assert [gone.session_id for gone in held.expired(30.0)] == [""]


def test_a_new_registration_outlives_the_entry_of_the_old_one() -> None:
    held = sessions()
    held.register("n1", 0.0)
    session = held.register("n1", 10.0)
    assert held.expired(20.0) == []
    assert held.is_live("n1", session)
    assert len(held.expired(25.0)) == 1


def test_the_period_follows_the_spec_with_the_next_beat() -> None:
    held = sessions()
    session = held.register("n1", 0.0)
    held.set_period(2.0)
    assert held.beat("n1", session, 1.0) == 2.0
    assert len(held.expired(7.0)) == 0
    held.set_period(0.0)
    assert held.period() == 5.0


def test_periods_are_spread_by_half_a_second() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    assert Sessions(uniform, lambda: "s").period() == 5.5
    assert drawn == [(-0.5, 0.5)]


def test_the_fourth_registration_in_a_row_is_refused_until_there_were_eight_quiet_seconds() -> None:
    held = sessions()
    held.register("n1", 0.0)
    for at in (1.0, 2.0, 3.0):
        held.admit("n1", at)
        held.register("n1", at)
    for at in (4.0, 11.0):
        with pytest.raises(Unavailable, match="node n1 exceeded rate limit count of registrations"):
            held.admit("n1", at)
    held.admit("n1", 11.1)


def test_a_day_after_a_node_went_down_its_tasks_are_orphans_once() -> None:
    held = sessions()
    held.watch_orphan("n1", 0.0)
    assert held.orphaned(ORPHAN_AFTER - 1) == []
    assert held.orphaned(ORPHAN_AFTER) == ["n1"]
    assert held.orphaned(ORPHAN_AFTER) == []
    held.watch_orphan("n2", 0.0)
    held.register("n2", 5.0)
    assert held.orphaned(ORPHAN_AFTER + 10) == []


def test_a_removed_node_is_forgotten() -> None:
    held = sessions()
    session = held.register("n1", 0.0)
    held.forget("n1")
    with pytest.raises(NotFound):
        held.check("n1", session)
    assert held.expired(100.0) == []


def test_a_node_changes_what_it_says_of_itself_so_often_and_again_after_a_while() -> None:
    held = sessions()
    held.admit_change("n1", 0.0)  # it is not registered: `admit` counts
    held.register("n1", 0.0)
    for _ in range(CHANGE_LIMIT):
        held.admit_change("n1", 5.0)
    for now in (5.0, 13.0):
        with pytest.raises(Unavailable, match="describes itself anew too often"):
            held.admit_change("n1", now)
    held.register("n1", 13.0)
    with pytest.raises(Unavailable):
        held.admit_change("n1", 13.0)
    held.admit_change("n1", 13.1)


def test_a_node_of_a_large_swarm_has_three_of_the_periods_that_it_was_told() -> None:
    held = sessions()
    session_ids = {f"n{number}": held.register(f"n{number}", 0.0) for number in range(200)}
    assert held.beat("n0", session_ids["n0"], 100.0) == 10.0
    for number in range(1, 200):
        held.forget(f"n{number}")
    assert held.expired(129.9) == []
    assert held.beat("n0", session_ids["n0"], 129.9) == 5.0  # the others are gone, so the period is the shortest again
    assert [gone.node_id for gone in held.expired(145.0)] == ["n0"]


def test_a_new_leader_waits_for_each_as_long_as_for_all_of_them() -> None:
    held = sessions()
    for number in range(200):
        held.expect(f"n{number}", 0.0, among=200)
    assert held.expired(59.9) == []
    assert len(held.expired(60.0)) == 200
