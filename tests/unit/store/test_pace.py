from hypothesis import given
from hypothesis import strategies as st

from shoal.store.pace import CALM, ELECTIONS, LONGEST_CALM, TURN, WITHIN, Pace, is_election, turn


def of(*instants: float) -> Pace:
    """Return the pace of an etcd that found a leader at its start, and had elections at these instants."""
    pace = Pace()
    pace.started()
    pace.heard(instants[0] if instants else 0.0)
    for now in instants:
        pace.heard(now)
    return pace


def storm(pace: Pace, at: float) -> None:
    for _ in range(ELECTIONS):
        pace.heard(at)


def test_six_elections_within_a_minute_make_it_slow() -> None:
    assert of(*(1000 + n * 11.9 for n in range(ELECTIONS))).is_slow


def test_fewer_or_rarer_ones_do_not() -> None:
    assert not of(*([1000.0] * (ELECTIONS - 1))).is_slow
    assert not of(*(1000 + n * 12.1 for n in range(100))).is_slow


def test_the_leader_that_an_etcd_finds_at_its_start_is_no_election() -> None:
    pace = Pace()
    for now in range(20):  # somebody kills it again and again
        pace.started()
        pace.heard(1000.0 + now)
    assert not pace.is_slow


def test_it_is_quick_again_after_a_calm_time_only() -> None:
    pace = of(*([1000.0] * ELECTIONS))
    assert pace.look(1001.0) == 1000.0 + CALM
    pace.heard(1200.0)
    assert pace.look(1000.0 + CALM) == 1200.0 + CALM
    assert pace.is_slow
    assert pace.look(1200.0 + CALM) is None
    assert not pace.is_slow


def test_quick_again_too_soon_the_next_calm_time_is_twice_as_long_up_to_a_bound() -> None:
    pace, now, calms = of(*([1000.0] * ELECTIONS)), 1000.0, []
    for _ in range(10):
        again_at = pace.look(now)
        assert again_at is not None
        calms.append(again_at - now)
        assert pace.look(again_at) is None
        now = again_at + 1
        storm(pace, now)
    assert calms[:3] == [CALM, 2 * CALM, 4 * CALM]
    assert max(calms) == LONGEST_CALM
    again_at = pace.look(now)
    assert again_at is not None
    pace.look(again_at)
    now = again_at + LONGEST_CALM + 1  # it was not too soon
    storm(pace, now)
    assert pace.look(now) == now + CALM


def test_an_old_etcd_begins_with_elections_that_are_its_own() -> None:
    """What made it slow before does not count when it is quick again."""
    pace = of(*([1000.0] * ELECTIONS))
    pace.look(1000.0 + CALM)
    pace.heard(1001.0 + CALM)
    assert not pace.is_slow


@given(st.lists(st.floats(0, 100_000), max_size=60))
def test_it_is_slow_exactly_if_so_many_were_that_near(instants: list[float]) -> None:
    instants.sort()
    near = any(last - first <= WITHIN for first, last in zip(instants, instants[ELECTIONS - 1 :], strict=False))
    assert of(*instants).is_slow == near


def test_lines_of_etcds_log_that_tell_of_a_leader() -> None:
    assert is_election("raft.node: 8e9e05c52164694d elected leader 8e9e05c52164694d at term 2")
    assert is_election("raft.node: 8e9e05c52164694d changed leader from 8e9e05c52164694d to 91bc3c398fb3c146 at term 3")
    assert not is_election("raft.node: 8e9e05c52164694d lost leader 8e9e05c52164694d at term 2")
    assert not is_election("8e9e05c52164694d became leader at term 2")
    assert not is_election("published local member to cluster through raft")


@given(st.sets(st.text(max_size=3), min_size=1, max_size=7))
def test_no_two_managers_have_the_same_turn(managers: set[str]) -> None:
    turns = sorted(turn(own, managers - {own}) for own in managers)
    assert turns == [number * TURN for number in range(len(managers))]
