"""What a host answers in the first moments of a swarm, of a role, and after a restart: the truth, and not "not yet"."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import join, make_swarm, node_id, token
from tests.harness.api import ApiError, Client
from tests.harness.hosts import Host, eventually, host, patient
from tests.harness.network import network

pytestmark = pytest.mark.root


@pytest.fixture
def alone() -> Iterator[Host]:
    with host("alone") as made:
        yield made


def first_answer(on: Host, path: str) -> object:
    """Return the first answer of a daemon that is starting."""

    def asked() -> tuple[object] | None:
        client = Client(on.socket)
        try:
            return (client.call("GET", path),)
        except ApiError as refusal:
            return (refusal,)
        except OSError:
            return None  # nobody listens yet
        finally:
            client.close()

    return eventually(asked, "it answers", every=0.001, show=on.log)[0]


def swarm_info(on: Host) -> tuple[str, bool]:
    swarm = json.loads(on.curl("/info"))["Swarm"]
    return swarm["LocalNodeState"], swarm["ControlAvailable"]


def test_a_manager_that_starts_answers_once_it_manages(alone: Host) -> None:
    make_swarm(alone)
    for path in ("/info", "/services"):
        assert alone.stop() == 0
        alone.start(wait=False)
        answer = first_answer(alone, path)
        if path == "/info":
            assert isinstance(answer, dict)
            assert (answer["Swarm"]["LocalNodeState"], answer["Swarm"]["ControlAvailable"]) == ("active", True)
        else:
            assert answer == []


def test_a_locked_manager_says_at_once_that_it_is_locked(alone: Host) -> None:
    make_swarm(alone, "--autolock")
    assert alone.stop() == 0
    began = time.monotonic()
    alone.start(wait=False)
    answer = first_answer(alone, "/info")
    assert isinstance(answer, dict)
    assert answer["Swarm"]["LocalNodeState"] == "locked"
    assert time.monotonic() - began < patient(15)  # it waits for nothing


def test_a_daemon_that_waits_for_its_swarm_still_stops() -> None:
    with network("lonely") as net:
        first, second = net.add("m1"), net.add("m2")
        make_swarm(first)
        join(second, first, token(first, "manager"))
        assert second.stop() == 0
        assert first.stop() == 0
        second.start(wait=False)  # without the other manager there is no quorum
        eventually(second.socket.exists, "it listens", show=second.log)
        began = time.monotonic()
        assert second.stop() == 0
        assert time.monotonic() - began < patient(15)


def test_a_worker_stays_active_while_it_is_promoted() -> None:
    with network("promoted") as net:
        manager, worker = net.add("m1"), net.add("w1")
        make_swarm(manager)
        join(worker, manager, token(manager))
        seen: set[tuple[str, bool]] = set()
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                seen.add(swarm_info(worker))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            manager.docker("node", "promote", node_id(worker))
            eventually(lambda: ("active", True) in seen, "it manages", show=worker.log)
        finally:
            done.set()
            looking.join()
        assert seen == {("active", False), ("active", True)}


def test_events_of_the_first_second_are_told(alone: Host) -> None:
    alone.docker("swarm", "init")
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "web", "--replicas", "0", "bb:latest")
    service = alone.docker(*create).stdout.strip()
    told = alone.docker("events", "--since", "0", "--until", str(int(time.time()) + 1), "--format", "{{json .}}").stdout
    events = [json.loads(line) for line in told.splitlines()]
    swarm = [(each["Type"], each["Action"], each["Actor"]["ID"]) for each in events if each.get("scope") == "swarm"]
    assert ("service", "create", service) in swarm
    assert any(kind == "node" and node == node_id(alone) for kind, _, node in swarm)


def test_a_port_in_use_is_told_in_dockers_words(alone: Host) -> None:
    command = 'import socket; s = socket.create_server(("", 2477)); print("up", flush=True); s.accept()'
    with subprocess.Popen(alone.inside(sys.executable, "-c", command), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            refused = alone.docker("swarm", "init", "--listen-addr", "0.0.0.0:2477", check=False)
        finally:
            process.kill()
    assert refused.returncode == 1
    assert (
        "manager stopped: failed to listen on remote API address: listen tcp 0.0.0.0:2477: bind: address already in use"
    ) in refused.stderr
    assert swarm_info(alone) == ("inactive", False)
    alone.docker("swarm", "init", "--listen-addr", "0.0.0.0:2477")
