"""Which nodes' hosts are gone. The kernel's silence shows that, never the silence of a process, and never for half a
swarm at a time.
"""

import random

import pytest

from shoal.manager.dispatcher.doubts import PROBES, PROBES_AT_ONCE, Doubts

SWARM = 10


def met(*node_ids: str) -> Doubts:
    """Return a `Doubts` with nodes whose hosts have answered."""
    doubts = Doubts()
    doubts.set_period(5.0)
    for node_id in node_ids:
        doubts.meet(node_id, 0.0)
    assert sorted(doubts.due(0.0)) == sorted(node_ids)
    for node_id in node_ids:
        doubts.answered(node_id)
    assert doubts.next_look() is None
    return doubts


def stay_silent(doubts: Doubts, now: float, registered: int = SWARM) -> list[tuple[object, str]]:
    """Answer no probe for ten seconds. Returns which nodes are given up, and when."""
    found: list[tuple[object, str]] = []
    asked: dict[str, float] = {}
    for tick in range(100):
        at = now + tick / 10
        for node_id in [each for each, since in asked.items() if at >= since + doubts.timeout]:
            doubts.unanswered(node_id, asked.pop(node_id), at)
        asked |= dict.fromkeys(doubts.due(at), at)
        found += [(at, node_id) for node_id in doubts.gone(at, registered)]
    for node_id, since in asked.items():
        doubts.unanswered(node_id, since, since + doubts.timeout)
    return found


def test_host_that_answers_no_probe_is_gone_after_three() -> None:
    doubts = met("a", "b")
    doubts.lose("a", 100.0)
    assert doubts.next_look() == 100.0
    assert stay_silent(doubts, 100.0) == [(pytest.approx(103.0, abs=0.11), "a")]
    assert doubts.next_look() is None


def test_one_answer_clears_it() -> None:
    doubts = met("a")
    doubts.lose("a", 100.0)
    for at in (100.0, 101.0):
        assert doubts.due(at) == ["a"]
        doubts.unanswered("a", at, at + 1)
    assert doubts.due(102.0) == ["a"]
    doubts.answered("a")
    assert stay_silent(doubts, 102.1) == []


def test_refusals_at_once_still_take_their_time() -> None:
    doubts = met("a")
    doubts.lose("a", 100.0)
    for number in range(PROBES):
        at = 100.0 + number
        assert doubts.due(at) == ["a"]
        doubts.unanswered("a", at, at)  # no route to host: known at once
        assert doubts.due(at + 0.9) == []
    assert doubts.gone(102.9, SWARM) == []
    assert doubts.next_look() == 103.0
    assert doubts.gone(103.0, SWARM) == ["a"]


def test_host_that_never_answered_is_left_to_the_heartbeats() -> None:
    doubts = Doubts()
    doubts.set_period(5.0)
    doubts.meet("a", 0.0)
    assert doubts.due(0.0) == ["a"]
    doubts.unanswered("a", 0.0, 1.0)
    doubts.lose("a", 100.0)
    assert doubts.next_look() is None
    assert stay_silent(doubts, 100.0) == []


def test_host_that_stopped_answering_since_counts_no_more() -> None:
    doubts = met("a")
    doubts.meet("a", 50.0)  # it registers again, and now something drops packets to it
    assert doubts.due(50.0) == ["a"]
    doubts.unanswered("a", 50.0, 51.0)
    doubts.lose("a", 100.0)
    assert stay_silent(doubts, 100.0) == []


@pytest.mark.parametrize("how", ["meet", "hear", "forget"])
def test_sign_of_life_ends_a_doubt(how: str) -> None:
    doubts = met("a")
    doubts.lose("a", 100.0)
    doubts.due(100.0)
    doubts.unanswered("a", 100.0, 101.0)
    if how == "meet":
        doubts.meet("a", 101.0)
        doubts.due(101.0)
        doubts.answered("a")
    else:
        getattr(doubts, how)("a")
    assert stay_silent(doubts, 101.1) == []


def test_many_silent_at_a_time_are_no_proof_and_begin_anew() -> None:
    doubts = met("a", "b", "c")
    for node_id in ("a", "b"):
        doubts.lose(node_id, 100.0)
    assert stay_silent(doubts, 100.0, registered=3) == []
    # The network is back: the first node registers, and the probes that the other did not answer before do not count
    # any more.
    doubts.meet("a", 110.0)
    assert doubts.gone(110.0, 3) == []
    assert [node_id for _, node_id in stay_silent(doubts, 110.1, registered=3)] == ["b"]


def test_half_of_the_nodes_may_go_and_a_lone_one_may_not() -> None:
    doubts = met("a", "b")
    doubts.lose("a", 100.0)
    assert [node_id for _, node_id in stay_silent(doubts, 100.0, registered=2)] == ["a"]
    lone = met("a")
    lone.lose("a", 100.0)
    assert stay_silent(lone, 100.0, registered=1) == []


def test_probe_that_was_looked_at_too_late_says_nothing() -> None:
    doubts = met("a")
    doubts.lose("a", 100.0)
    for at in (100.0, 101.0):
        doubts.due(at)
        doubts.unanswered("a", at, at + 1)
    assert doubts.due(102.0) == ["a"]
    doubts.unanswered("a", 102.0, 109.0)  # this process was stopped
    assert stay_silent(doubts, 109.0) == [(pytest.approx(112.0, abs=0.11), "a")]


def test_manager_of_the_leader_before_has_a_head_start() -> None:
    doubts = Doubts()
    doubts.set_period(5.0)
    doubts.expect("m1", 0.0)
    doubts.expect("m2", 0.0)
    doubts.meet("m2", 1.0)
    assert doubts.due(1.0) == ["m2"]
    doubts.answered("m2")
    assert doubts.next_look() == 3.0
    assert stay_silent(doubts, 2.0, registered=2) == [(pytest.approx(6.0, abs=0.11), "m1")]


def test_patient_swarm_has_patient_probes() -> None:
    doubts = met("a")
    doubts.set_period(60.0)
    doubts.lose("a", 100.0)
    for at in (100.0, 112.0, 124.0):
        assert doubts.due(at) == ["a"]
        assert doubts.gone(at, SWARM) == []
        doubts.unanswered("a", at, at + 12)
    assert doubts.gone(136.0, SWARM) == ["a"]
    doubts.set_period(0.1)
    assert doubts.timeout == 1.0


def test_probes_at_once_are_bounded() -> None:
    doubts = Doubts()
    names = [f"n{number}" for number in range(PROBES_AT_ONCE + 5)]
    for name in names:
        doubts.meet(name, 0.0)
    first = doubts.due(0.0)
    assert len(first) == PROBES_AT_ONCE
    assert doubts.due(0.0) == []
    doubts.answered(first[0])
    doubts.forget(first[1])
    assert len(doubts.due(0.0)) == 2


@pytest.mark.parametrize("seed", range(50))
def test_hosts_that_are_there_are_never_given_up(seed: int) -> None:
    """Sessions end at random, processes stall, a third of all packets is lost. Only the dead host is ever given up."""
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(SWARM)]
    doubts = met(*names)
    dead_at = rng.uniform(20, 80)
    gone: dict[str, float] = {}
    asked: dict[str, float] = {}
    missed = dict.fromkeys(names, 0)
    for tick in range(1200):
        now = tick / 10
        for name in names:
            is_dead = name == "n0" and now >= dead_at
            if name not in gone and (rng.random() < 0.002 or (is_dead and now < dead_at + 0.1)):
                doubts.lose(name, now)
            if name in asked and now >= asked[name] + 1:
                # A living host never loses three probes in a row; that is why three are needed.
                lost = is_dead or (rng.random() < 0.3 and missed[name] < PROBES - 1)
                missed[name] = missed[name] + 1 if lost else 0
                if lost:
                    doubts.unanswered(name, asked.pop(name), now)
                else:
                    asked.pop(name)
                    doubts.answered(name)
        asked |= dict.fromkeys(doubts.due(now), now)
        gone |= dict.fromkeys(doubts.gone(now, SWARM - len(gone)), now)
    assert list(gone) == ["n0"]
    assert gone["n0"] - dead_at < 6
