"""Joins that fail leave nothing."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import node_id, token
from tests.harness.hosts import Host, eventually, patient
from tests.harness.network import Network, network

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network("joining") as made:
        yield made


@pytest.fixture(scope="module")
def manager(net: Network) -> Host:
    made = net.add("m")
    made.docker("swarm", "init")
    return made


@pytest.fixture(scope="module")
def newcomer(net: Network, manager: Host) -> Host:
    return net.add("new")


def refused(host: Host, token_text: str, address: str) -> str:
    done = host.docker("swarm", "join", "--token", token_text, address, check=False)
    assert done.returncode == 1, done.stdout
    assert host.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip() == "inactive"
    assert not (host.data_root / "swarm").exists()
    return done.stderr.removeprefix("Error response from daemon: ").strip()


def test_token_that_is_none(manager: Host, newcomer: Host) -> None:
    good = token(manager)
    for bad in ("SWMTKN-1-foo", good[:-1], good + "0", good.replace("SWMTKN-1", "SWMTKN-3"), "x"):
        assert refused(newcomer, bad, manager.address) == "invalid join token"


def test_token_of_another_secret(manager: Host, newcomer: Host) -> None:
    wrong = token(manager)[:-25] + "0" * 25
    text = "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
    assert refused(newcomer, wrong, manager.address) == text


def test_token_of_another_swarm(net: Network, manager: Host, newcomer: Host) -> None:
    other = net.add("other")
    other.docker("swarm", "init")
    text = refused(newcomer, token(other), manager.address)
    assert text.startswith("remote CA does not match fingerprint. Expected: ")
    assert len(text.split()[-1]) == 64


def test_token_of_a_fips_swarm(manager: Host, newcomer: Host) -> None:
    fips = token(manager).replace("SWMTKN-1-", "SWMTKN-2-1-")
    assert refused(newcomer, fips, manager.address) == "node is not FIPS-enabled but cluster requires FIPS"


def test_address_where_nobody_listens(manager: Host, newcomer: Host) -> None:
    text = refused(newcomer, token(manager), newcomer.address)
    assert text == (
        'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
        f'dial tcp {newcomer.address}:2377: connect: connection refused"'
    )


def test_address_of_a_worker(net: Network, manager: Host, newcomer: Host) -> None:
    worker = net.add("worker")
    worker.docker("swarm", "join", "--token", token(manager), manager.address)
    assert "connect: connection refused" in refused(newcomer, token(manager), worker.address)


def test_bad_addresses(manager: Host, newcomer: Host) -> None:
    good = token(manager)
    done = newcomer.docker("swarm", "join", "--token", good, "--listen-addr", "nope", manager.address, check=False)
    assert "listen address must be an IP address or network interface" in done.stderr
    done = newcomer.docker("swarm", "join", "--token", good, "--data-path-addr", "nope", manager.address, check=False)
    assert "data path address must be a non-zero IP address or network interface" in done.stderr
    body = json.dumps({"ListenAddr": "0.0.0.0:2377", "JoinToken": good})
    answer = newcomer.curl("/swarm/join", "-d", body, "-H", "Content-Type: application/json")
    assert "at least 1 RemoteAddr is required to join" in answer


def test_attempt_goes_on_when_its_client_was_told_to_wait(net: Network, manager: Host, newcomer: Host) -> None:
    net.cut(newcomer)
    begun = time.monotonic()
    done = newcomer.docker("swarm", "join", "--token", token(manager), manager.address, check=False)
    assert 19 < time.monotonic() - begun < 20 + patient(5)
    assert "Timeout was reached before node joined. The attempt to join the swarm will continue" in done.stderr
    assert newcomer.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip() == "pending"
    net.heal(newcomer)
    eventually(lambda: node_id(newcomer), "it joins by itself", patience=60, show=newcomer.log)
    ready = "{{.Swarm.LocalNodeState}} {{.Swarm.Error}}"
    eventually(lambda: newcomer.docker("info", "--format", ready).stdout.split() == ["active"], "it is up")
    newcomer.docker("swarm", "leave")


def test_attempt_that_goes_on_ends_with_leave(net: Network, manager: Host, newcomer: Host) -> None:
    net.cut(newcomer)
    try:
        newcomer.docker("swarm", "join", "--token", token(manager), manager.address, check=False)
        newcomer.docker("swarm", "leave")
    finally:
        net.heal(newcomer)
    assert newcomer.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip() == "inactive"
