"""Hosts whose clocks are years off: each gets one line that says so, and none stops the others."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import containers, create, join, make_swarm, nodes, running, token, wait_running
from tests.cluster.test_failover import leader_of, managers, services, wait_statuses, write
from tests.harness.clocks import DAY, YEAR, Clock
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@pytest.fixture
def net() -> Iterator[Network]:
    with network("clocks") as made:
        yield made


def state(host: Host) -> tuple[str, str]:
    info = json.loads(host.curl("/info"))["Swarm"]
    return info["LocalNodeState"], info["Error"]


def test_a_joiner_whose_clock_is_off_is_told_and_joins_once_it_is_set(net: Network) -> None:
    manager, newcomer = net.add("m"), net.add("new", start=False)
    clock = Clock(newcomer)
    newcomer.start()
    secret = make_swarm(manager)
    for offset in (-8 * YEAR, 100 * DAY):
        clock.set(offset)
        done = newcomer.docker("swarm", "join", "--token", secret, manager.address, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "x509: certificate has expired or is not yet valid: compare this host's clock with the manager's" in line
        assert state(newcomer) == ("inactive", "")
        assert not (newcomer.data_root / "swarm").exists()
        assert nodes(manager) == {"m": "Ready"}
    clock.set(0)
    join(newcomer, manager, secret)
    eventually(lambda: nodes(manager) == {"m": "Ready", "new": "Ready"}, "it is a node", show=newcomer.log)


@pytest.mark.parametrize("offset", [-8 * YEAR, 40 * YEAR], ids=["behind", "ahead"])
def test_a_swarm_whose_managers_clock_is_off_takes_in_nobody_and_says_why(net: Network, offset: int) -> None:
    manager, newcomer = net.add("m", start=False), net.add("new")
    Clock(manager, offset)
    manager.start()
    manager.docker("swarm", "init")
    done = newcomer.docker("swarm", "join", "--token", token(manager), manager.address, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "compare this host's clock with the manager's" in line
    assert state(newcomer) == ("inactive", "")
    assert nodes(manager) == {"m": "Ready"}


@pytest.mark.parametrize("offset", [-8 * YEAR, 40 * YEAR], ids=["behind", "ahead"])
def test_a_worker_that_starts_with_a_wrong_clock_waits_for_the_right_one(net: Network, offset: int) -> None:
    manager, worker = net.add("m"), net.add("w", start=False)
    clock = Clock(worker)
    worker.start()
    join(worker, manager, make_swarm(manager, "--dispatcher-heartbeat", "2s"))
    create(manager, "web", 2, "--replicas-max-per-node", "1")
    wait_running(manager, "web", {"m": 1, "w": 1})
    certificate = worker.data_root / "swarm" / "certificates" / "swarm-node.crt"
    pem = certificate.read_bytes()
    worker.stop()
    clock.set(offset)
    worker.start()
    eventually(lambda: state(worker)[0] == "error", "it says so", show=worker.log)
    if offset < 0:
        text = "but its node's certificate was made after"
        assert text in state(worker)[1]
        assert text in worker.docker("node", "ls", check=False).stderr
        assert text in worker.log()
    else:
        assert "Swarm certificates have expired" in state(worker)[1]
        assert "if it is wrong, set it, and the node goes on by itself" in worker.log()
    assert "damaged" not in worker.log()
    assert containers(worker) == 1
    eventually(lambda: nodes(manager) == {"m": "Ready", "w": "Down"}, "the others go on", show=manager.log)
    clock.set(0)
    eventually(lambda: nodes(manager) == {"m": "Ready", "w": "Ready"}, "it is back", show=worker.log)
    assert certificate.read_bytes() == pem
    wait_running(manager, "web", {"m": 1, "w": 1})


@pytest.mark.parametrize("offset", [-8 * YEAR, 40 * YEAR], ids=["behind", "ahead"])
def test_a_leader_that_starts_again_with_a_wrong_clock_stops_nobody(net: Network, offset: int) -> None:
    three = [net.add(f"m{number}", start=False) for number in (1, 2, 3)]
    clocks = {host.name: Clock(host) for host in three}
    for host in three:
        host.start()
    secret = make_swarm(three[0]) and token(three[0], "manager")
    for host in three[1:]:
        join(host, three[0], secret)
    wait_statuses(three[0], ["Leader", "Reachable", "Reachable"])
    assert write(three[0], "before")
    leader = leader_of(three, three[0])
    rest = [host for host in three if host is not leader]
    leader.stop()
    clocks[leader.name].set(offset)
    leader.start()
    wait_statuses(rest[0], ["Leader", "Reachable", "Unreachable"])
    eventually(lambda: write(rest[1], "meanwhile"), "the others go on", show=rest[1].log)
    eventually(lambda: said(leader), "it says what is wrong", patience=60, show=leader.log)
    assert not managers(leader)  # and does not answer what it cannot know
    clocks[leader.name].set(0)
    for host in three:
        wait_statuses(host, ["Leader", "Reachable", "Reachable"], show=leader.log)
        eventually(lambda host=host: services(host) == ["before", "meanwhile"], "all agree")  # type: ignore[misc]
    assert write(leader, "after")


def said(host: Host) -> bool:
    return "host's clock says" in host.log()


def test_a_leader_whose_clock_jumps_goes_on_with_those_that_it_knows(net: Network) -> None:
    manager, worker = net.add("m", start=False), net.add("w")
    clock = Clock(manager)
    manager.start()
    join(worker, manager, make_swarm(manager))
    create(manager, "web", 2)
    eventually(lambda: sum(running(manager, "web").values()) == 2, "two run")
    for offset in (-8 * YEAR, 40 * YEAR, 0):
        clock.set(offset)
        manager.docker("service", "scale", "-d", f"web={4 if offset else 3}")
        eventually(lambda: sum(running(manager, "web").values()) == (4 if offset else 3), "it is scaled")  # noqa: B023
    eventually(lambda: nodes(manager) == {"m": "Ready", "w": "Ready"}, "both are ready", show=manager.log)
