"""`shoal swarm backup` and `shoal swarm restore`: a swarm whose managers are gone is made again elsewhere."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.ca.identity import identity_of, read_chain
from tests.cluster.swarms import containers, create, join, make_swarm, node_id, nodes, running, token, wait_running
from tests.harness.api import ApiError, Client
from tests.harness.clocks import DAY, Clock
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import Network, network
from tests.interop.conftest import import_image

pytestmark = pytest.mark.root


@pytest.fixture
def net() -> Iterator[Network]:
    with network("backup") as made:
        yield made


def up(net: Network, *names: str) -> list[Host]:
    """Return new hosts, started at the same time."""
    hosts = [net.add(name, start=False) for name in names]
    for host in hosts:
        host.start(wait=False)
    for host in hosts:
        eventually(host.answers, f"{host.name}: shoald answers", show=host.log)
    return hosts


def shoal(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against a host."""
    command = (sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{host.socket}", "swarm", *arguments)
    return run(*command, check=False)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the output of a command that was asked for JSON."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of output of a command that failed."""
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def swarm_info(host: Host) -> Any:
    return json.loads(host.curl("/info"))["Swarm"]


def settled(host: Host) -> str:
    """Return whether a host is in a swarm or in none. "" while it is between the two."""
    state = swarm_info(host)["LocalNodeState"]
    has_files = (host.data_root / "swarm").exists()
    return state if (state, has_files) in (("inactive", False), ("active", True)) else ""


def services(host: Host) -> set[str]:
    return set(host.docker("service", "ls", "--format", "{{.Name}}").stdout.split())


class Writer:
    """Creates one service after another in a thread of its own, and records which were acknowledged."""

    def __init__(self, manager: Host) -> None:
        self._manager = manager
        self.acknowledged: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        client = Client(self._manager.socket)
        for number in range(10_000):
            if self._stop.is_set():
                break
            spec = {
                "Name": f"w{number}",
                "TaskTemplate": {"ContainerSpec": {"Image": "bb"}},
                "Mode": {"Replicated": {"Replicas": 0}},
            }
            try:
                client.call("POST", "/services/create", spec)
            except (ApiError, OSError):
                break
            self.acknowledged.append(f"w{number}")
        client.close()


def test_swarm_of_three_managers_is_made_again_on_a_new_host(net: Network, tmp_path: Path) -> None:
    a, b, c, new, worker, manager = up(net, "a", "b", "c", "new", "worker", "manager")
    make_swarm(a, "--dispatcher-heartbeat", "2s")
    for host in (b, c):
        join(host, a, token(a, "manager"))
    create(a, "web", 2, "--constraint", "node.hostname!=a", "--label", "kept=yes", "--restart-delay", "0s")
    eventually(lambda: sum(running(a, "web").values()) == 2, "the service runs")
    kept = [token(a), token(a, "manager"), a.docker("swarm", "ca").stdout, swarm_info(a)["Cluster"]["ID"]]
    identity, path = node_id(c), str(tmp_path / "swarm.backup")
    with Writer(a) as writer:
        eventually(lambda: len(writer.acknowledged) > 20, "services are being made")
        before = set(writer.acknowledged)
        saved = told(shoal(c, "backup", path, "--format", "json"))
        during = set(writer.acknowledged) - before
    assert during, "nothing was written while the backup was taken"
    assert (saved["NodeID"], saved["Hostname"], saved["ClusterID"]) == (identity, "c", kept[3])
    assert saved["Objects"]["nodes"] == 3
    assert saved["Objects"]["services"] > len(before)
    create(a, "later", 0)

    for host in (a, b):
        host.go_down()
    answer = c.curl("/shoal/v1/swarm/backup", "-w", "%{http_code}")
    assert "The swarm does not have a leader." in answer
    assert answer.endswith("503")
    assert "This node is already part of a swarm" in refused(shoal(c, "restore", path))
    c.go_down()

    import_image(new)
    back = told(shoal(new, "restore", path, "--advertise-addr", "eth0", "--format", "json"))
    assert (back["NodeID"], back["Locked"]) == (identity, False)
    assert back["Backup"]["Digest"] == saved["Digest"]
    assert [token(new), token(new, "manager"), new.docker("swarm", "ca").stdout] == kept[:3]
    info = swarm_info(new)
    assert (info["Cluster"]["ID"], info["NodeID"], info["NodeAddr"]) == (kept[3], identity, new.address)
    assert (info["Managers"], info["Nodes"]) == (1, 3)
    assert before <= services(new)
    assert "later" not in services(new)
    assert json.loads(new.docker("service", "inspect", "web").stdout)[0]["Spec"]["Labels"] == {"kept": "yes"}
    wait_running(new, "web", {"new": 2})
    new.docker("service", "scale", "-d", "web=3")
    wait_running(new, "web", {"new": 3})

    # The lost nodes are no managers any more, and can be removed for good.
    line = "{{.Hostname}} {{.ManagerStatus}}"
    assert set(new.docker("node", "ls", "--format", line).stdout.splitlines()) == {"a ", "b ", "new Leader"}
    eventually(lambda: nodes(new) == {"a": "Down", "b": "Down", "new": "Ready"}, "those that are gone are down")
    new.docker("node", "rm", "a", "b")
    join(worker, new, kept[0])
    join(manager, new, kept[1])
    create(manager, "fresh", 1, "--constraint", "node.hostname==worker")
    wait_running(manager, "fresh", {"worker": 1})
    # A restored swarm can be backed up like any other.
    again = told(shoal(manager, "backup", path, "--format", "json"))
    assert again["Version"] > saved["Version"] + 1_000_000


def test_locked_swarm_takes_its_workers_back_at_the_address_that_they_know(net: Network, tmp_path: Path) -> None:
    old, new, worker = up(net, "old", "new", "worker")
    # The worker must not be taken for down, and its tasks not replaced, before it is back.
    make_swarm(old, "--autolock", "--dispatcher-heartbeat", "20s")
    join(worker, old, token(old))
    create(old, "web", 1, "--constraint", "node.hostname==worker")
    wait_running(old, "web", {"worker": 1})
    container = worker.docker("ps", "-q").stdout
    key = old.docker("swarm", "unlock-key", "-q").stdout.strip()
    path = tmp_path / "swarm.backup"
    assert "Worker nodes can't be used to view or modify cluster state" in refused(shoal(worker, "backup", str(path)))
    assert "This node is not a swarm manager" in refused(shoal(new, "backup", str(path)))
    assert list(tmp_path.iterdir()) == []
    shown = shoal(old, "backup", str(path)).stdout
    assert "It is sealed by the swarm's unlock key as it is now" in shown
    data = path.read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in data
    assert b"BEGIN PRIVATE KEY" not in data
    old.docker("swarm", "unlock-key", "--rotate", "-q")
    old.go_down()

    wrong = tmp_path / "wrong"
    for content, text in (
        (data[:-1], "cut short or changed"),
        (data[: len(data) // 2], "cut short or changed"),
        (data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "cut short or changed"),
        (b"something else", "this is no backup of a swarm"),
    ):
        wrong.write_bytes(content)
        assert text in refused(shoal(new, "restore", str(wrong)))
    assert "no such file" in refused(shoal(new, "restore", str(tmp_path / "none")))
    nowhere = refused(shoal(new, "restore", "--advertise-addr", "nowhere", str(path)))
    assert "must be a non-zero IP address or network interface" in nowhere
    assert swarm_info(new)["LocalNodeState"] == "inactive"
    assert not (new.data_root / "swarm").exists()

    # The new host takes the old one's place on the network.
    run("ip", "-n", old.namespace, "address", "flush", "dev", "eth0")
    run("ip", "-n", new.namespace, "address", "add", f"{old.address}/24", "dev", "eth0")
    run("ip", "-n", worker.namespace, "neighbour", "flush", "all")
    done = shoal(new, "restore", str(path), "--advertise-addr", old.address)
    assert "It is locked. Open it with the unlock key of the time of the backup" in done.stdout, done.stderr
    assert "Swarm is encrypted and needs to be unlocked" in new.docker("node", "ls", check=False).stderr
    unlocked = new.docker("swarm", "unlock", input="SWMKEY-1-" + "A" * 43 + "\n", check=False)
    assert "invalid key provided" in unlocked.stderr
    new.docker("swarm", "unlock", input=key + "\n")
    assert new.docker("swarm", "unlock-key", "-q").stdout.strip() == key
    ready = {"new": "Ready", "worker": "Ready"}
    eventually(lambda: nodes(new) == ready, "the worker is back", patience=60, show=worker.log)
    wait_running(new, "web", {"worker": 1})
    assert worker.docker("ps", "-q").stdout == container, "its container was started anew"
    new.docker("service", "scale", "-d", "web=2")
    wait_running(new, "web", {"worker": 2})


# The files that exist after each step of a restore, in this order.
MOMENTS = ("restoring/swarm/etcd/member", "swarm/etcd", "swarm/docker-state.json")


def test_restore_that_is_killed_leaves_nothing_or_a_whole_swarm(net: Network, tmp_path: Path) -> None:
    host = net.add("m")
    make_swarm(host)
    create(host, "web", 0)
    identity, path = node_id(host), str(tmp_path / "swarm.backup")
    told(shoal(host, "backup", path, "--format", "json"))
    host.docker("swarm", "leave", "--force")
    outcomes = []
    for moment, victim in (*((moment, "daemon") for moment in MOMENTS), (MOMENTS[0], "command")):
        command = (sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{host.socket}", "swarm", "restore", path)
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as restoring:
            end = time.monotonic() + 20
            while not (host.data_root / moment).exists() and time.monotonic() < end:
                pass  # the next step comes sooner than a sleep would end
            if victim == "daemon":
                host.stop(signal.SIGKILL)
            else:
                restoring.kill()
            _, said = restoring.communicate(timeout=20)
        assert said.startswith(b"shoal: the connection to") or not said
        if victim == "daemon":
            host.start()
        eventually(lambda: not (host.data_root / "restoring").exists(), "what was broken off is gone")
        outcomes.append(eventually(lambda: settled(host), "it knows what it is"))
        if outcomes[-1] == "inactive":
            continue
        assert node_id(host) == identity
        assert services(host) == {"web"}
        host.docker("swarm", "leave", "--force")
    assert outcomes[0] == "inactive"
    assert outcomes[len(MOMENTS) - 1] == "active"
    listening = "import socket; s = socket.create_server(('', 2377)); print('up', flush=True); s.accept()"
    with subprocess.Popen(host.inside(sys.executable, "-c", listening), stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        assert (
            "failed to listen on remote API address: listen tcp 0.0.0.0:2377: bind: address already in use"
            in refused(shoal(host, "restore", path))
        )
        other.kill()
    assert settled(host) == "inactive"
    assert told(shoal(host, "restore", path, "--format", "json"))["NodeID"] == identity
    assert services(host) == {"web"}


def test_certificate_that_ran_out_since_is_renewed(net: Network, tmp_path: Path) -> None:
    # The old host's clock is 100 days behind.
    old, new = net.add("old", start=False), net.add("new")
    Clock(old, -100 * DAY)
    old.start()
    make_swarm(old)
    create(old, "web", 1)
    path = str(tmp_path / "swarm.backup")
    told(shoal(old, "backup", path, "--format", "json"))
    old.go_down()
    import_image(new)
    told(shoal(new, "restore", path, "--format", "json"))
    assert "this manager's certificate ran out on" in new.log()
    certificate = new.data_root / "swarm" / "certificates" / "swarm-node.crt"

    def renewed() -> bool:
        return identity_of(read_chain(certificate.read_bytes())[0]).not_after_at > time.time()

    eventually(renewed, "its certificate is renewed", patience=60, show=new.log)
    eventually(lambda: nodes(new) == {"new": "Ready"}, "it is a node", patience=60, show=new.log)
    wait_running(new, "web", {"new": 1}, patience=60)
    assert containers(new) == 1
