"""The leader of three managers has a full disk, or has lost its data. The others go on, and nothing is lost."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.swarms import containers, create, join, make_swarm, running, token
from tests.cluster.test_failover import leader_of, services, wait_statuses, write
from tests.cluster.test_faults_disk import fill
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

LARGE_BYTES = 400_000  # the size of a service that fills a database


@pytest.fixture
def net() -> Iterator[Network]:
    with network("leader") as made:
        yield made


@pytest.fixture
def small(net: Network) -> Iterator[Path]:
    """Yield three hosts without daemons. The first has a small disk below its data root."""
    for number in (1, 2, 3):
        net.add(f"m{number}", start=False)
    disk = net.hosts[0].data_root
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk))
    yield disk
    net.hosts[0].close()
    run("umount", "-l", str(disk), check=False)


def three_managers(net: Network) -> list[Host]:
    first, *others = net.hosts
    for host in net.hosts:
        host.start()
    make_swarm(first)
    secret = token(first, "manager")
    for host in others:
        join(host, first, secret)
    wait_statuses(first, ["Leader", "Reachable", "Reachable"])
    return net.hosts


def write_large(host: Host, name: str) -> tuple[bool, str]:
    """Create a service that needs much room. Returns whether it was acknowledged, and the answer."""
    spec = {
        "Name": name,
        "Labels": {"large": "x" * LARGE_BYTES},
        "TaskTemplate": {"ContainerSpec": {"Image": "bb:latest"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
    body = host.folder / "body"
    body.write_text(json.dumps(spec))
    out = host.curl(
        "/services/create", "-H", "Content-Type: application/json", "-d", f"@{body}", "-w", "\n%{http_code}"
    )
    text, _, status = out.rpartition("\n")
    return status == "201", text


def test_a_leader_whose_disk_is_full_gives_way_and_says_why(net: Network, small: Path) -> None:
    three = three_managers(net)
    full, *others = three
    assert leader_of(three, full) is full
    create(full, "web", 3, "--replicas-max-per-node", "1")
    eventually(lambda: sum(running(full, "web").values()) == 3, "three run", show=full.log)
    filler = fill(small)
    acknowledged, told = ["web"], ""
    for number in range(200):
        at = three[number % 3]
        done, text = write_large(at, f"s{number}")
        if done:
            acknowledged.append(f"s{number}")
        elif at is full and "etcd" in text:  # a call that was under way as it lost the lead hears of that alone
            told = text
        if told and len(acknowledged) > 20:
            break
    assert "etcd cannot write to" in told
    assert "no space left on device" in told
    assert "no space left on device" in full.log()
    wait_statuses(others[0], ["Leader", "Reachable", "Unreachable"])
    for host in others:
        assert write(host, f"by-{host.hostname}")
        acknowledged.append(f"by-{host.hostname}")
    assert containers(full) == 1
    filler.unlink()
    for host in three:
        wait_statuses(host, ["Leader", "Reachable", "Reachable"], show=full.log)
        eventually(lambda host=host: set(services(host)) >= set(acknowledged), "nothing is lost", show=full.log)  # type: ignore[misc]
    eventually(lambda: len({tuple(services(host)) for host in three}) == 1, "all agree")
    assert write(full, "after")
    eventually(lambda: sum(running(full, "web").values()) == 3, "three run", show=full.log)
    assert "Traceback" not in full.log()


def test_a_leader_that_comes_back_without_its_data_is_taken_in_anew(net: Network) -> None:
    for number in (1, 2, 3):
        net.add(f"m{number}", start=False)
    three = three_managers(net)
    assert write(three[0], "before")
    leader = leader_of(three, three[0])
    rest = [host for host in three if host is not leader]
    leader.stop()
    shutil.rmtree(leader.data_root / "swarm" / "etcd")
    assert write(rest[0], "meanwhile")
    leader.start()
    for host in three:
        wait_statuses(host, ["Leader", "Reachable", "Reachable"], show=leader.log)
        eventually(lambda host=host: services(host) == ["before", "meanwhile"], "nothing is lost")  # type: ignore[misc]
    assert write(leader, "after")


def test_a_manager_that_is_alone_and_without_its_data_says_which_folder_and_what_to_do(net: Network) -> None:
    alone = net.add("m")
    make_swarm(alone)
    create(alone, "web", 1)
    eventually(lambda: containers(alone) == 1, "it runs", show=alone.log)
    alone.stop()
    folder = alone.data_root / "swarm" / "etcd"
    shutil.rmtree(folder)
    alone.start()

    def error() -> str:
        found: str = json.loads(alone.curl("/info"))["Swarm"]["Error"]
        return found

    text = eventually(error, "it says so", show=alone.log)
    assert text.startswith(f"{folder} is gone, and with it this manager's part of the swarm's state")
    assert "restore a backup" in text
    assert text in alone.log()
    assert text in alone.docker("node", "ls", check=False).stderr
    assert containers(alone) == 1
    alone.docker("swarm", "leave", "--force")
    alone.docker("swarm", "init")
