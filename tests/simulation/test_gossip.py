"""Nodes of one network gossip: all know all, dead nodes are found, and living ones are not believed to be dead.

SHOAL_GOSSIP_NODES sets the number of nodes, such as 500. The figures are in docs/performance.md. To repeat a failure,
use the seed in the test's name.
"""

import os
import sys
import time

import pytest

from shoal.network.gossip.delegate import State
from tests.simulation.airwaves import KEYS, Air

NODES = int(os.environ.get("SHOAL_GOSSIP_NODES", "100"))
BUDGET = 1400


def meet(air: Air, count: int, within: float = 60.0) -> float:
    """Start this many nodes, each of which calls the first. Returns how long it took until all knew all."""
    first = air.add()
    for _ in range(count - 1):
        air.add(first)
    return air.run_until(air.all_know_all, within)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_know_all_and_a_dead_one_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """And a message that one node is given is heard by all, in packets that are no longer than allowed."""
    began = time.process_time()
    air = Air(seed=1, loss=0.01)
    met = meet(air, NODES)
    stations = air.running()
    rumour = b"x" * 700
    stations[0].delegate.heard(rumour, air.now)
    spread = air.run_until(lambda: all(rumour in station.delegate.heard_messages for station in stations), within=10)
    dead = stations[-1]
    dead.runs = False
    found = air.run_until(lambda: not air.believed(dead).keys() & {State.ALIVE, State.SUSPECT}, within=90)
    assert air.largest <= BUDGET
    assert air.counts["lost"] > 0
    took = time.process_time() - began
    with capsys.disabled():
        sys.stdout.write(
            f"\n{NODES} nodes: all know all after {met:.1f} s, spread {spread:.1f} s, a dead one known to all after "
            f"{found:.1f} s; {air.counts['packets']} packets, {air.counts['streams']} streams, "
            f"{air.counts['events'] / took:.0f} events a second of CPU\n"
        )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_taken_for_dead_where_packets_are_lost(seed: int) -> None:
    """Five packets in a hundred are lost, others come twice or late."""
    air = Air(seed, loss=0.05, delay=(0.0005, 0.1), doubles=0.02)
    meet(air, 25)
    air.run(120)
    failed = [event for station in air.running() for event in station.delegate.events if event[0] == "failed"]
    assert failed == []
    assert air.all_know_all()
    assert air.counts["lost"] > 100
    assert air.counts["doubled"] > 10


@pytest.mark.slow
def test_partition_of_ten_minutes_heals() -> None:
    """By then both sides have forgotten the members of the other side, and call them all the same."""
    air = Air(seed=3, loss=0.01)
    meet(air, 12)
    side = air.running()[6:]
    for station in side:
        station.group = 1
    air.run(600)
    for station in air.running():
        assert set(station.states()) == {
            other.name for other in air.running() if other.group == station.group and other is not station
        }
    assert air.counts["cut"] > 0
    for station in side:
        station.group = 0
    assert air.run_until(air.all_know_all, within=30) < 30


def test_node_alone_keeps_calling() -> None:
    """Known fault 9: all nodes that a node knows fail at once. When they are back, it finds them by itself."""
    air = Air(seed=5)
    meet(air, 5)
    alone = air.running()[0]
    alone.group = 1
    air.run(300)
    assert alone.states() == {}
    alone.group = 0
    air.run_until(air.all_know_all, within=30)


def test_first_join_that_fails_is_repeated() -> None:
    air = Air(seed=6)
    first = air.add()
    first.group = 1
    late = air.add(first)
    air.run(60)
    assert late.states() == {}
    first.group = 0
    air.run_until(air.all_know_all, within=15)


def test_node_that_leaves_is_not_called_failed() -> None:
    air = Air(seed=7, loss=0.05)
    meet(air, 10)
    leaver = air.running()[3]
    leaver.do(lambda memberlist, now: memberlist.leave(now))
    took = air.run_until(lambda: leaver.memberlist.has_left(air.now), within=1.1, every=0.02)
    leaver.runs = False
    air.run(60)
    told = [event[0] for station in air.running() for event in station.delegate.events if event[1] == leaver.name]
    assert told.count("left") == 9
    assert "failed" not in told
    assert took <= 1.1


def test_leaving_without_a_network_ends() -> None:
    """Known fault 10."""
    air = Air(seed=8)
    meet(air, 4)
    leaver = air.running()[2]
    leaver.group = 1
    leaver.do(lambda memberlist, now: memberlist.leave(now))
    assert air.run_until(lambda: leaver.memberlist.has_left(air.now), within=1.1, every=0.05) <= 1.1


def test_node_that_returns_is_alive_again_for_all() -> None:
    """It was cut off long enough to be believed dead, but not long enough to be forgotten."""
    air = Air(seed=9)
    meet(air, 10)
    cut = air.running()[4]
    cut.group = 1
    air.run_until(lambda: State.ALIVE not in air.believed(cut) and State.SUSPECT not in air.believed(cut), within=60)
    cut.group = 0
    air.run_until(air.all_know_all, within=30)
    told = [event[0] for event in air.running()[0].delegate.events if event[1] == cut.name]
    assert told == ["joined", "failed", "joined"]


def test_node_that_starts_anew_has_another_name_at_the_same_address() -> None:
    air = Air(seed=10)
    meet(air, 6)
    former = air.running()[5]
    former.runs = False
    del air.stations[former.address]
    fresh = air.add(air.running()[0])
    assert fresh.address == former.address
    air.run_until(air.all_know_all, within=60)
    assert State.ALIVE not in air.believed(former)


def test_keys_are_rotated_while_nodes_gossip() -> None:
    """Each node gets the new keys at another time, and no node is lost meanwhile."""
    air = Air(seed=11)
    meet(air, 10)
    primary, oldest, newest = KEYS
    keys = [oldest, primary, newest, *(b"key number %05d" % number for number in range(3))]
    for rotation in range(1, 4):
        oldest, primary, newest = keys[rotation : rotation + 3]
        for station in air.running():
            station.memberlist.set_keys((primary, oldest, newest))
            air.run(2)
    assert air.running()[0].memberlist.keyring.keys[0] == keys[4]
    air.run(30)
    assert air.all_know_all()
    assert not [event for station in air.running() for event in station.delegate.events if event[0] == "failed"]


def test_packets_that_are_sent_again_later_change_nothing() -> None:
    """An attacker without a key can still repeat packets that he has seen, also those that suspected others."""
    air = Air(seed=12, loss=0.05)
    meet(air, 8)
    cut = air.running()[3]
    cut.group = 1
    air.run(8)
    cut.group = 0
    air.run_until(air.all_know_all, within=60)
    air.run(60)
    events = [list(station.delegate.events) for station in air.running()]
    seen = list(air.seen)
    assert len(seen) > 500
    for sender, target, data in seen:
        air.stations[target].receive(data, sender)
        air.run(0.002)
    air.run(30)
    assert air.all_know_all()
    assert [list(station.delegate.events) for station in air.running()] == events
