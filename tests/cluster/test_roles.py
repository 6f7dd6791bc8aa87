"""Managers join, are promoted and demoted, with whole daemons: what a node does when its certificate changes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.swarms import containers, create, join, make_swarm, node_id, nodes, running, token, wait_running
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@dataclass
class Swarm:
    net: Network
    first: Host
    second: Host
    third: Host


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with network("roles") as net:
        first, second, third = net.add("first"), net.add("second"), net.add("third")
        make_swarm(first)
        join(second, first, token(first, "manager"))
        join(third, first, token(first))
        yield Swarm(net, first, second, third)


def statuses(host: Host) -> dict[str, str]:
    """Return the manager status of every node by hostname, as `docker node ls` shows it."""
    done = host.docker("node", "ls", "--format", "{{.Hostname}}|{{.ManagerStatus}}", check=False)
    return dict(line.split("|") for line in done.stdout.splitlines())


def wait_statuses(host: Host, expected: dict[str, str]) -> None:
    eventually(lambda: statuses(host) == expected, f"{expected}", patience=60, every=0.1, show=host.log)


def wait_worker(host: Host) -> None:
    def is_worker() -> bool:
        return "Worker nodes can't" in host.docker("node", "ls", check=False).stderr

    eventually(is_worker, f"{host.name} is a worker", patience=60, every=0.1, show=host.log)


def give_role(on: Host, verb: str, name: str) -> None:
    """Promote or demote a node, as its user would. Managers may write the node at the same moment."""

    def done() -> bool:
        tried = on.docker("node", verb, name, check=False)
        assert not tried.returncode or "update out of sequence" in tried.stderr, tried.stderr
        return not tried.returncode

    eventually(done, f"{verb} {name}", show=on.log)


def info(host: Host) -> dict[str, object]:
    found: dict[str, object] = json.loads(host.curl("/info"))["Swarm"]
    return found


def test_manager_joins_and_answers(swarm: Swarm) -> None:
    assert statuses(swarm.second) == {"first": "Leader", "second": "Reachable", "third": ""}
    assert info(swarm.second)["ControlAvailable"] is True
    assert (info(swarm.second)["Managers"], info(swarm.second)["Nodes"]) == (2, 3)
    create(swarm.second, "web", 3)
    wait_running(swarm.second, "web", {"first": 1, "second": 1, "third": 1})
    assert running(swarm.first, "web") == {"first": 1, "second": 1, "third": 1}
    assert nodes(swarm.second) == nodes(swarm.first)


def test_worker_is_promoted_and_demoted_while_its_tasks_run(swarm: Swarm) -> None:
    before = swarm.third.docker("ps", "-q").stdout
    assert before
    for _ in range(2):
        swarm.first.docker("node", "promote", "third")
        wait_statuses(swarm.third, {"first": "Leader", "second": "Reachable", "third": "Reachable"})
        assert len(info(swarm.third)["RemoteManagers"]) == 3  # type: ignore[arg-type]
        swarm.second.docker("node", "demote", "third")
        wait_statuses(swarm.first, {"first": "Leader", "second": "Reachable", "third": ""})
        wait_worker(swarm.third)
        eventually(lambda: not (swarm.third.data_root / "swarm" / "etcd").exists(), "the swarm's data are gone")
    assert swarm.third.docker("ps", "-q").stdout == before
    assert nodes(swarm.first)["third"] == "Ready"


def test_leader_is_demoted_and_promoted_again(swarm: Swarm) -> None:
    swarm.first.docker("node", "promote", "third")
    eventually(lambda: statuses(swarm.third).get("third") == "Reachable", "three manage", patience=60)
    swarm.first.docker("node", "demote", "first")

    def led_elsewhere() -> bool:
        found = statuses(swarm.second)
        return found.get("first") == "" and sorted((found["second"], found["third"])) == ["Leader", "Reachable"]

    eventually(led_elsewhere, "another leads", patience=60, show=swarm.first.log)
    wait_worker(swarm.first)
    give_role(swarm.second, "promote", "first")
    eventually(
        lambda: statuses(swarm.first).get("first") == "Reachable", "it manages again", patience=60, show=swarm.first.log
    )
    wait_running(swarm.first, "web", {"first": 1, "second": 1, "third": 1})


def test_manager_restarts_as_what_it_was(swarm: Swarm) -> None:
    before = node_id(swarm.second)
    swarm.second.stop()
    swarm.second.start()
    eventually(lambda: statuses(swarm.second).get("second", "") != "", "it manages", patience=60)
    assert node_id(swarm.second) == before
    assert containers(swarm.second) == 1


def test_manager_leaves_only_by_force_and_is_told_why(swarm: Swarm) -> None:
    refused = swarm.second.docker("swarm", "leave", check=False)
    assert "You are attempting to leave the swarm on a node that is participating as a manager." in refused.stderr
    assert "reinitialize it with `--force-new-cluster`" in refused.stderr
    swarm.first.docker("node", "demote", "second")
    wait_worker(swarm.second)
    swarm.second.docker("swarm", "leave")
    refused = swarm.first.docker("swarm", "leave", check=False)
    assert "Removing this node leaves 1 managers out of 2. Without a Raft quorum" in refused.stderr
