"""Managers that lose the others, and hosts that come back elsewhere."""

import json
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import containers, create, join, make_swarm, node_id, nodes, token, wait_running
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@pytest.fixture
def net() -> Iterator[Network]:
    with network("survivor") as made:
        yield made


def works(host: Host) -> bool:
    return host.docker("service", "ls", check=False).returncode == 0


def test_last_of_three_managers_goes_on_alone_with_everything(net: Network) -> None:
    first, second, third, worker = net.add("first"), net.add("second"), net.add("third"), net.add("worker")
    make_swarm(first, "--dispatcher-heartbeat", "2s")
    for host in (second, third):
        join(host, first, token(first, "manager"))
    join(worker, first, token(first))
    create(first, "web", 2, "--constraint", "node.hostname==third", "--label", "kept=yes")
    wait_running(first, "web", {"third": 2})
    secret = token(first)
    for host in (first, second):
        host.stop(signal.SIGKILL)
        for pid in host.processes():
            run("kill", "-9", str(pid), check=False)

    def no_quorum() -> bool:
        done = third.docker("service", "create", "-d", "--no-resolve-image", "bb", check=False)
        return "does not have a leader" in done.stderr or "being prepared" in done.stderr

    eventually(no_quorum, "it says that there is no quorum", patience=60, every=0.5, show=third.log)
    assert containers(third) == 2
    refused = third.docker("swarm", "init", check=False)
    assert "This node is already part of a swarm" in refused.stderr
    before = node_id(third)
    third.docker("swarm", "init", "--force-new-cluster")
    assert node_id(third) == before
    assert token(third) == secret
    spec = json.loads(third.docker("service", "inspect", "web").stdout)[0]["Spec"]
    assert spec["Labels"] == {"kept": "yes"}
    wait_running(third, "web", {"third": 2})
    third.docker("service", "scale", "-d", "web=3")
    wait_running(third, "web", {"third": 3})
    create(third, "fresh", 1, "--constraint", "node.hostname==worker")
    wait_running(third, "fresh", {"worker": 1}, patience=60)
    gone = {"first": "Down", "second": "Down", "third": "Ready", "worker": "Ready"}
    eventually(lambda: nodes(third) == gone, "those that are gone are down", patience=60, every=0.5)


def test_worker_and_manager_come_back_with_other_addresses(net: Network) -> None:
    manager, other, worker = net.add("m"), net.add("other"), net.add("w")
    make_swarm(manager)
    join(other, manager, token(manager, "manager"))
    join(worker, manager, token(manager))
    ids = [node_id(host) for host in (manager, other, worker)]
    for host, address in ((worker, "10.99.0.33"), (other, "10.99.0.32")):
        host.stop()
        run("ip", "-n", host.namespace, "address", "flush", "dev", "eth0")
        run("ip", "-n", host.namespace, "address", "add", f"{address}/24", "dev", "eth0")
        host.start()
    ready = {"m": "Ready", "other": "Ready", "w": "Ready"}

    def all_ready() -> bool:
        return works(manager) and nodes(manager) == ready

    eventually(all_ready, "all are back", patience=60, every=0.2, show=manager.log)
    assert [node_id(host) for host in (manager, other, worker)] == ids

    def status(name: str, field: str) -> str:
        return manager.docker("node", "inspect", name, "--format", field).stdout.strip()

    eventually(lambda: status("w", "{{.Status.Addr}}") == "10.99.0.33", "the worker's address")
    eventually(lambda: status("other", "{{.ManagerStatus.Addr}}") == "10.99.0.32:2377", "the manager's address")
    eventually(lambda: works(other), "it manages", show=other.log)
