"""Root rotation on real hosts, with the Docker CLI's own progress: every node moves to the new root, and nothing that
runs is touched.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from shoal.ca.identity import read_chain
from shoal.ca.root import RootCA, create_root
from tests.cluster.swarms import containers, create, join, make_swarm, nodes, tasks, token, wait_running
from tests.harness.hosts import REPOSITORY, Host, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root
READY = {"m": "Ready", "n": "Ready", "w": "Ready"}


@dataclass
class Swarm:
    net: Network
    manager: Host
    second: Host
    worker: Host

    @property
    def hosts(self) -> tuple[Host, ...]:
        return self.manager, self.second, self.worker


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with network("rot") as net:
        manager, second, worker = net.add("m"), net.add("n"), net.add("w")
        join(worker, manager, make_swarm(manager))
        join(second, manager, token(manager, "manager"))
        create(manager, "web", 3)
        wait_running(manager, "web", {"m": 1, "n": 1, "w": 1})
        yield Swarm(net, manager, second, worker)


def inspect(manager: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(manager.curl("/swarm"))
    return found


def folder(host: Host) -> Path:
    return host.data_root / "swarm" / "certificates"


def root_of(host: Host) -> bytes:
    return (folder(host) / "swarm-root-ca.crt").read_bytes()


def chain_of(host: Host) -> list[x509.Certificate]:
    return read_chain((folder(host) / "swarm-node.crt").read_bytes())


def is_rotating(manager: Host) -> bool:
    return inspect(manager)["RootRotationInProgress"] is True


def wait_trust(swarm: Swarm, root: bytes) -> None:
    eventually(lambda: {root_of(host) for host in swarm.hosts} == {root}, "all trust the root", show=swarm.manager.log)


def test_rotate_moves_every_node_and_then_the_swarm(swarm: Swarm) -> None:
    manager = swarm.manager
    before, root, old_token = {task["ID"] for task in tasks(manager, "web")}, root_of(manager), token(manager)
    serials = [chain_of(host)[0].serial_number for host in swarm.hosts]

    shown = manager.docker("swarm", "ca", "--rotate", timeout=60).stdout
    # It returns when the last node trusts the new root, which it then prints.
    new = root_of(manager)
    assert new != root
    assert new.decode().strip() in shown
    assert {root_of(host) for host in swarm.hosts} == {new}
    for host, serial in zip(swarm.hosts, serials, strict=True):
        leaf = chain_of(host)[0]
        assert leaf.serial_number != serial
        leaf.verify_directly_issued_by(read_chain(new)[0])

    shown_now = inspect(manager)
    assert shown_now["RootRotationInProgress"] is False
    assert shown_now["TLSInfo"]["TrustRoot"].encode() == new
    assert nodes(manager) == READY
    assert nodes(swarm.second) == READY
    assert {task["ID"] for task in tasks(manager, "web")} == before
    assert [containers(host) for host in swarm.hosts] == [1, 1, 1]

    late = swarm.net.add("late")
    refused = late.docker(
        "swarm", "join", "--token", old_token, f"{manager.address}:2377", check=False, timeout=60
    ).stderr
    assert "remote CA does not match fingerprint" in refused
    join(late, manager, token(manager))
    eventually(lambda: nodes(manager).get("late") == "Ready", "the newcomer is ready")
    late.docker("swarm", "leave")
    eventually(lambda: nodes(manager)["late"] == "Down", "it has left")
    manager.docker("node", "rm", "late")


def test_node_that_is_away_holds_a_rotation_up(swarm: Swarm) -> None:
    manager, worker = swarm.manager, swarm.worker
    root = root_of(manager)
    worker.stop()
    swarm.second.docker("swarm", "ca", "--rotate", "--detach")  # through a manager that does not lead
    for host in (manager, swarm.second):
        eventually(lambda host=host: len(chain_of(host)) == 2, "the managers have moved", show=host.log)  # type: ignore[misc]
    assert is_rotating(manager)
    assert root_of(manager) == root
    # By now both managers show certificates of the next root, and they are still a quorum.
    swarm.second.docker("service", "update", "-d", "--label-add", "during=rotation", "web")
    worker.start()
    eventually(lambda: not is_rotating(manager), "the rotation ends", patience=60, show=manager.log)
    assert inspect(manager)["TLSInfo"]["TrustRoot"].encode() != root
    wait_trust(swarm, inspect(manager)["TLSInfo"]["TrustRoot"].encode())


def test_given_root_is_moved_to_and_cancels_the_way_to_another(swarm: Swarm, tmp_path: Path) -> None:
    manager, worker = swarm.manager, swarm.worker
    own = create_root(time.time())
    (tmp_path / "ca.crt").write_bytes(own.certs_pem)
    (tmp_path / "ca.key").write_bytes(own.key_pem)
    given = ("--rotate", "--ca-cert", str(tmp_path / "ca.crt"), "--ca-key", str(tmp_path / "ca.key"))
    manager.docker("swarm", "ca", *given, timeout=60)
    wait_trust(swarm, own.certs_pem)

    worker.stop()
    manager.docker("swarm", "ca", "--rotate", "--detach")
    eventually(lambda: len(chain_of(manager)) == 2, "the manager has moved")
    manager.docker("swarm", "ca", *given, "--detach")
    assert not is_rotating(manager)
    worker.start()
    eventually(lambda: nodes(manager) == READY, "all are ready", show=worker.log)
    wait_trust(swarm, own.certs_pem)
    assert own.certs_pem.decode().strip() in manager.docker("swarm", "ca").stdout


@contextmanager
def external_ca(host: Host, root: RootCA, folder: Path) -> Iterator[str]:
    """Run an external CA on a host, which also accepts nodes of the present root. Returns its address."""
    (folder / "ca.crt").write_bytes(root.certs_pem)
    (folder / "ca.key").write_bytes(root.key_pem)
    (folder / "clients.crt").write_bytes(root_of(host))
    command = host.inside(sys.executable, "-m", "tests.unit.manager.cfssl", str(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=REPOSITORY) as server:
        assert server.stdin is not None
        try:
            eventually((folder / "url").exists, "it serves")
            yield (folder / "url").read_text()
        finally:
            server.stdin.close()


def test_external_ca_takes_over_and_gives_back(swarm: Swarm, tmp_path: Path) -> None:
    manager = swarm.manager
    own = create_root(time.time())
    with external_ca(manager, own, tmp_path) as url:
        certificate = str(tmp_path / "ca.crt")
        external = f"protocol=cfssl,url={url},cacert={certificate}"
        refused = manager.docker(
            "swarm", "ca", "--rotate", "--ca-cert", certificate, "--external-ca",
            f"protocol=cfssl,url=https://127.0.0.1:1/,cacert={certificate}", check=False,
        ).stderr  # fmt: skip
        assert "there must be at least one valid, reachable external CA corresponding to the desired CA" in refused
        manager.docker("swarm", "ca", "--rotate", "--ca-cert", certificate, "--external-ca", external, timeout=60)
        wait_trust(swarm, own.certs_pem)
        for host in swarm.hosts:
            chain_of(host)[0].verify_directly_issued_by(own.certificates[0])
        # The external CA has to cross-sign the next root, because the swarm has no key.
        manager.docker("swarm", "ca", "--rotate", timeout=60)
    assert root_of(manager) != own.certs_pem
    wait_trust(swarm, root_of(manager))
    assert nodes(manager) == READY
