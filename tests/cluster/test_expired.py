"""Nodes that were switched off until their certificates ran out."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import identity_of, read_chain
from shoal.ca.root import create_root
from shoal.ca.security import SecurityConfig
from tests.cluster.swarms import join, make_swarm, node_id, nodes
from tests.harness.clocks import DAY, Clock
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@pytest.fixture
def net() -> Iterator[Network]:
    with network("expired") as made:
        yield made


def certificates(host: Host) -> Path:
    return host.data_root / "swarm" / "certificates"


def state(host: Host) -> tuple[str, str]:
    info = json.loads(host.curl("/info"))["Swarm"]
    return info["LocalNodeState"], info["Error"]


def test_worker_comes_back_with_one_command_that_its_log_names(net: Network) -> None:
    manager, worker = net.add("m"), net.add("w")
    secret = make_swarm(manager)
    old = join(worker, manager, secret)
    worker.stop()
    # As after a year: a chain with the same names that is no longer valid.
    then = time.time() - 200 * DAY
    root, key = create_root(then), new_key()
    organization = identity_of(read_chain((certificates(worker) / "swarm-node.crt").read_bytes())[0]).organization
    chain = root.issue(make_csr(key), old, api.WORKER, organization, now=then)
    shutil.rmtree(certificates(worker))
    SecurityConfig.create(certificates(worker), root_pem=root.certs_pem, chain_pem=chain, key=key, now=then)
    worker.start()
    text = "Swarm certificates have expired. To replace them, leave the swarm and join again."
    eventually(lambda: state(worker)[0] == "error", "it says that it is no node")
    assert state(worker)[1] == text
    assert text in worker.docker("node", "ls", check=False).stderr
    assert f"bring it back with docker swarm join --token TOKEN {manager.address}:2377" in worker.log()
    worker.docker("swarm", "join", "--token", secret, f"{manager.address}:2377")
    assert node_id(worker) != old
    assert nodes(manager)["w"] == "Ready"


def test_manager_that_is_alone_renews_by_itself(net: Network) -> None:
    # Its clock is 100 days behind while the swarm is made, so that the certificate has run out now.
    manager = net.add("m", start=False)
    clock = Clock(manager, -100 * DAY)
    manager.start()
    make_swarm(manager)
    manager.stop()
    clock.set(0)
    manager.start()

    def renewed() -> bool:
        pem = (certificates(manager) / "swarm-node.crt").read_bytes()
        return identity_of(read_chain(pem)[0]).not_after_at > time.time()

    eventually(renewed, "its certificate is renewed", patience=60, show=manager.log)
    assert "this manager's certificate ran out on" in manager.log()
    eventually(lambda: nodes(manager) == {"m": "Ready"}, "it is a node as before", patience=60, show=manager.log)
