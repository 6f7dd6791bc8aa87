"""Workers of a swarm join, run tasks, are cut off and come back, are drained, leave, and are removed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.swarms import (
    IMAGE,
    containers,
    create,
    join,
    make_swarm,
    node_id,
    nodes,
    notice_soon,
    token,
    wait_running,
)
from tests.harness.hosts import Host, docker_program, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@dataclass
class Swarm:
    net: Network
    manager: Host
    one: Host
    two: Host
    secret: str

    def id_of(self, host: Host) -> str:
        return node_id(host)


@pytest.fixture(scope="module")
def made() -> Iterator[Swarm]:
    with network("workers") as net:
        manager, one, two = net.add("m"), net.add("one"), net.add("two")
        secret = make_swarm(manager)
        join(one, manager, secret)
        join(two, manager, secret)
        yield Swarm(net, manager, one, two, secret)


@pytest.fixture
def swarm(made: Swarm) -> Iterator[Swarm]:
    yield made
    made.manager.docker("swarm", "update", "--dispatcher-heartbeat", "5s")
    services = made.manager.docker("service", "ls", "-q").stdout.split()
    if services:
        made.manager.docker("service", "rm", *services)
    for host in (made.manager, made.one, made.two):
        eventually(partial(lambda host: containers(host) == 0, host), f"no containers on {host.name}", show=host.log)


def test_joined_workers_are_nodes(swarm: Swarm) -> None:
    assert nodes(swarm.manager) == {"m": "Ready", "one": "Ready", "two": "Ready"}
    info = json.loads(swarm.one.curl("/info"))["Swarm"]
    assert info["LocalNodeState"] == "active"
    assert info["ControlAvailable"] is False
    assert info["NodeAddr"] == swarm.one.address
    assert [manager["Addr"] for manager in info["RemoteManagers"]] == [f"{swarm.manager.address}:2377"]
    assert info["RemoteManagers"][0]["NodeID"] == node_id(swarm.manager)
    shown = swarm.manager.docker("node", "inspect", "one", "--format", "{{.Status.Addr}} {{.Spec.Role}}").stdout
    assert shown.split() == [swarm.one.address, "worker"]


def test_worker_answers_that_it_is_no_manager(swarm: Swarm) -> None:
    for words in (("node", "ls"), ("service", "ls"), ("swarm", "join-token", "worker"), ("swarm", "unlock-key")):
        done = swarm.one.docker(*words, check=False)
        assert done.returncode == 1
        assert "Worker nodes can't be used to view or modify cluster state." in done.stderr
    for again in (["swarm", "init"], ["swarm", "join", "--token", swarm.secret, "10.99.0.1:2377"]):
        done = swarm.one.docker(*again, check=False)
        assert "This node is already part of a swarm." in done.stderr


def test_service_spreads_over_all_nodes(swarm: Swarm) -> None:
    create(swarm.manager, "spread", 6)
    wait_running(swarm.manager, "spread", {"m": 2, "one": 2, "two": 2})
    assert containers(swarm.one) == containers(swarm.two) == 2
    assert len(swarm.manager.docker("node", "ps", "one", "-q").stdout.split()) == 2
    swarm.manager.docker("service", "scale", "-d", "spread=3")
    wait_running(swarm.manager, "spread", {"m": 1, "one": 1, "two": 1})
    eventually(lambda: containers(swarm.one) == 1, "the container went with its task")


def test_logs_of_tasks_on_workers_are_read_on_the_manager(swarm: Swarm) -> None:
    command = ("sh", "-c", "echo hello from $(hostname); sleep 1d")
    swarm.manager.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "talk", "--replicas", "3",
        "--stop-signal", "KILL", "--hostname", "{{.Node.Hostname}}", IMAGE, *command,
    )  # fmt: skip
    wait_running(swarm.manager, "talk", {"m": 1, "one": 1, "two": 1})
    expected = {f"hello from {name}" for name in ("m", "one", "two")}
    eventually(
        lambda: set(swarm.manager.docker("service", "logs", "--raw", "talk").stdout.splitlines()) == expected,
        "each task's line is there",
    )


def test_followers_of_logs_hear_of_tasks_that_outlived_a_restart_of_their_daemon(swarm: Swarm, tmp_path: Path) -> None:
    where = f"node.hostname=={swarm.one.hostname}"
    swarm.manager.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "count", "--constraint", where,
        "--stop-signal", "KILL", IMAGE, "sh", "-c", "n=0; while sleep 0.1; do n=$((n+1)); echo $n; done",
    )  # fmt: skip
    wait_running(swarm.manager, "count", {swarm.one.hostname: 1})
    with Follower(swarm.manager, tmp_path / "before", "count") as before:
        eventually(before.lines, "the follower hears", show=swarm.one.log)
        assert swarm.one.stop() == 0
        swarm.one.start()
        with Follower(swarm.manager, tmp_path / "after", "count") as after:
            eventually(after.lines, "a new follower hears", show=swarm.one.log)
            last = after.lines()[-1]
            eventually(lambda: last + 5 in after.lines(), "and goes on hearing", show=swarm.one.log)
            eventually(lambda: last in before.lines(), "the older one hears again", show=swarm.one.log)
        heard = before.lines()
        assert heard == list(range(1, len(heard) + 1))  # nothing twice, nothing lost


class Follower:
    """`docker service logs -f`, for as long as the context lasts."""

    def __init__(self, manager: Host, path: Path, service: str) -> None:
        self._manager, self._path, self._service = manager, path, service

    def __enter__(self) -> "Follower":
        command = [docker_program(), "-H", f"unix://{self._manager.socket}", "service", "logs", "-f", "--raw"]
        with self._path.open("wb") as output:
            self._process = subprocess.Popen([*command, self._service], stdout=output, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def lines(self) -> list[int]:
        """Return the lines that it has received so far."""
        return [int(line) for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_cut_off_worker_is_replaced_and_gives_way_when_it_is_back(swarm: Swarm) -> None:
    create(swarm.manager, "kept", 2, "--constraint", "node.role==worker")
    wait_running(swarm.manager, "kept", {"one": 1, "two": 1})
    swarm.net.cut(swarm.one)
    eventually(lambda: nodes(swarm.manager)["one"] == "Down", "the silent node is down", show=swarm.manager.log)
    wait_running(swarm.manager, "kept", {"two": 2})
    assert containers(swarm.one) == 1, "a worker that is cut off keeps its containers"
    swarm.net.heal(swarm.one)
    eventually(lambda: nodes(swarm.manager)["one"] == "Ready", "the node is back", patience=40, show=swarm.one.log)
    eventually(lambda: containers(swarm.one) == 0, "its stale task is shut down", show=swarm.one.log)
    wait_running(swarm.manager, "kept", {"two": 2})


def test_paused_worker_is_replaced_and_gives_way(swarm: Swarm) -> None:
    create(swarm.manager, "froze", 2, "--constraint", "node.role==worker")
    wait_running(swarm.manager, "froze", {"one": 1, "two": 1})
    notice_soon(swarm.manager)
    swarm.two.pause()
    try:
        eventually(lambda: nodes(swarm.manager)["two"] == "Down", "the paused node is down")
        wait_running(swarm.manager, "froze", {"one": 2})
    finally:
        swarm.two.resume()
    eventually(lambda: nodes(swarm.manager)["two"] == "Ready", "the node is back", patience=40, show=swarm.two.log)
    eventually(lambda: containers(swarm.two) == 0, "its stale task is shut down", show=swarm.two.log)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_restarted_worker_keeps_its_containers(swarm: Swarm, how: signal.Signals) -> None:
    # With the default of 5 s a worker has 10 s from its stop to its next registration; then its tasks are replaced,
    # which is right. On a busy machine a daemon takes longer to start. A worker learns another period when it
    # registers.
    swarm.manager.docker("swarm", "update", "--dispatcher-heartbeat", "60s")
    swarm.one.stop()
    swarm.one.start()
    eventually(lambda: nodes(swarm.manager)["one"] == "Ready", "the node is back", show=swarm.one.log)
    # Only there: the others count by the former period for a while, and on a busy machine one may be given up.
    create(swarm.manager, "lasting", 2, "--constraint", "node.hostname==one")
    wait_running(swarm.manager, "lasting", {"one": 2})
    before = swarm.one.docker("ps", "-q", "--no-trunc").stdout
    swarm.one.stop(how)
    swarm.one.start()
    eventually(lambda: nodes(swarm.manager)["one"] == "Ready", "the node is back", show=swarm.one.log)
    assert swarm.one.docker("ps", "-q", "--no-trunc").stdout == before
    wait_running(swarm.manager, "lasting", {"one": 2})


def test_restarted_manager_is_found_again(swarm: Swarm) -> None:
    create(swarm.manager, "calm", 3)
    wait_running(swarm.manager, "calm", {"m": 1, "one": 1, "two": 1})
    before = {host.name: host.docker("ps", "-q", "--no-trunc").stdout for host in (swarm.one, swarm.two)}
    swarm.manager.stop(signal.SIGKILL)
    swarm.manager.start()
    eventually(lambda: swarm.manager.docker("node", "ls", check=False).returncode == 0, "it manages again")
    ready = {"m": "Ready", "one": "Ready", "two": "Ready"}
    eventually(lambda: nodes(swarm.manager) == ready, "all are back", patience=40, show=swarm.one.log)
    wait_running(swarm.manager, "calm", {"m": 1, "one": 1, "two": 1})
    assert before == {host.name: host.docker("ps", "-q", "--no-trunc").stdout for host in (swarm.one, swarm.two)}


def test_availability_moves_tasks(swarm: Swarm) -> None:
    create(swarm.manager, "moved", 3)
    wait_running(swarm.manager, "moved", {"m": 1, "one": 1, "two": 1})
    swarm.manager.docker("node", "update", "--availability", "pause", "one")
    swarm.manager.docker("service", "scale", "-d", "moved=5")
    wait_running(swarm.manager, "moved", {"m": 2, "one": 1, "two": 2})
    swarm.manager.docker("node", "update", "--availability", "drain", "one")
    eventually(lambda: containers(swarm.one) == 0, "a drained node runs nothing")
    eventually(lambda: containers(swarm.manager) + containers(swarm.two) == 5, "the others run all of it")
    swarm.manager.docker("node", "update", "--availability", "active", "one")
    swarm.manager.docker("service", "scale", "-d", "moved=7")
    eventually(lambda: containers(swarm.one) == 2, "an active node gets tasks again")


def test_labels_of_nodes_are_constraints(swarm: Swarm) -> None:
    swarm.manager.docker("node", "update", "--label-add", "disk=fast", "two")
    create(swarm.manager, "picky", 2, "--constraint", "node.labels.disk==fast")
    wait_running(swarm.manager, "picky", {"two": 2})
    assert swarm.manager.docker("node", "ls", "-q", "--filter", "node.label=disk=fast").stdout.split() == [
        node_id(swarm.two)
    ]
    swarm.manager.docker("node", "update", "--label-rm", "disk", "two")


def test_node_commands_refuse_in_dockers_words(swarm: Swarm) -> None:
    ready = swarm.manager.docker("node", "rm", "one", check=False)
    assert "is not down and can't be removed" in ready.stderr
    last = swarm.manager.docker("node", "demote", "m", check=False)
    assert "attempting to demote the last manager of the swarm" in last.stderr
    unknown = swarm.manager.docker("node", "rm", "nobody", check=False)
    # As a newer docker command says it, and an older one.
    assert "node nobody not found" in unknown.stderr or "No such node: nobody" in unknown.stderr


def test_worker_leaves_and_joins_as_another_node(swarm: Swarm) -> None:
    create(swarm.manager, "left", 3)
    wait_running(swarm.manager, "left", {"m": 1, "one": 1, "two": 1})
    old = node_id(swarm.two)
    assert "Node left the swarm." in swarm.two.docker("swarm", "leave").stdout
    assert swarm.two.docker("ps", "-aq").stdout == ""
    assert swarm.two.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip() == "inactive"
    assert "This node is not part of a swarm" in swarm.two.docker("swarm", "leave", check=False).stderr
    eventually(lambda: nodes(swarm.manager)["two"] == "Down", "the node is gone")
    swarm.manager.docker("node", "rm", old)
    swarm.two.docker("swarm", "join", "--token", swarm.secret, f"{swarm.manager.address}:2377")
    assert node_id(swarm.two) != old
    assert nodes(swarm.manager) == {"m": "Ready", "one": "Ready", "two": "Ready"}


def test_removed_node_is_shut_out_until_it_joins_again(swarm: Swarm) -> None:
    create(swarm.manager, "rest", 3)
    wait_running(swarm.manager, "rest", {"m": 1, "one": 1, "two": 1})
    old = node_id(swarm.two)
    swarm.manager.docker("node", "rm", "--force", old)
    assert set(nodes(swarm.manager)) == {"m", "one"}
    eventually(lambda: "was removed from swarm" in swarm.two.log(), "its sessions are refused", show=swarm.two.log)
    eventually(lambda: containers(swarm.manager) + containers(swarm.one) == 3, "its task is replaced")
    swarm.two.docker("swarm", "leave")
    swarm.two.docker("swarm", "join", "--token", swarm.secret, "--availability", "drain", "10.99.0.1")
    assert node_id(swarm.two) != old
    swarm.manager.docker("node", "update", "--availability", "active", "two")


def test_rotated_token_lets_nobody_in_and_keeps_who_is_in(swarm: Swarm) -> None:
    fresh = swarm.manager.docker("swarm", "join-token", "--rotate", "-q", "worker").stdout.strip()
    assert fresh != swarm.secret
    assert fresh == token(swarm.manager)
    old, swarm.secret = swarm.secret, fresh
    late = swarm.net.add("late")
    refused = late.docker("swarm", "join", "--token", old, f"{swarm.manager.address}:2377", check=False)
    assert "A valid join token is necessary to join this cluster" in refused.stderr
    assert nodes(swarm.manager) == {"m": "Ready", "one": "Ready", "two": "Ready"}
