"""Networks of the swarm that each node makes by itself, by Docker's own command: another subnet on each node."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import IMAGE, Pair, join, make_swarm, tasks, wait_running
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import network

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def swarm() -> Iterator[Pair]:
    with network("localnets") as net:
        first, second = net.add("first"), net.add("second")
        join(second, first, make_swarm(first))
        yield Pair(first, second)


def service(swarm: Pair, net: str) -> None:
    swarm.first.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "web", "--mode", "global", "--network", net, IMAGE,
        "sleep", "1d",
    )  # fmt: skip


def container(host: Host) -> str:
    (found,) = host.docker("ps", "-q").stdout.split()
    return found


def on(host: Host, net: str) -> dict[str, str]:
    shown = json.loads(host.docker("inspect", container(host)).stdout)[0]
    return dict(shown["NetworkSettings"]["Networks"][net])


def bridges(host: Host) -> list[str]:
    return re.findall(r"\d+: (shoal-[0-9a-z]+)", run(*host.inside("ip", "-o", "link", "show", "type", "bridge")).stdout)


def mac(host: Host, link: str) -> str:
    return run(*host.inside("ip", "-br", "link", "show", link)).stdout.split()[2]


def rules(host: Host, bridge: str) -> str:
    """Return the table of a bridge; empty where there is none."""
    name = re.search(
        rf"table ip (\w+_{bridge.removeprefix('shoal-')})\n", run(*host.inside("nft", "list", "tables")).stdout
    )
    return run(*host.inside("nft", "list", "table", "ip", name[1])).stdout if name else ""


def ended(swarm: Pair) -> None:
    swarm.first.docker("service", "rm", "web")
    for host in swarm.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its container is gone", show=host.log)  # type: ignore[misc]


def test_each_node_makes_a_bridge_from_its_own_configuration(swarm: Pair) -> None:
    for number, host in enumerate(swarm.hosts, 1):
        host.docker("network", "create", "--config-only", "--subnet", f"192.168.{number}.0/24", "base")
    swarm.first.docker("network", "create", "-d", "bridge", "--scope", "swarm", "--config-from", "base", "own")
    shown = json.loads(swarm.first.docker("network", "inspect", "own").stdout)[0]
    assert (shown["Driver"], shown["Scope"], shown["ConfigFrom"]) == ("bridge", "swarm", {"Network": "base"})
    service(swarm, "own")
    wait_running(swarm.first, "web", {"first": 1, "second": 1})
    for number, host in enumerate(swarm.hosts, 1):
        assert (on(host, "own")["IPAddress"], on(host, "own")["Gateway"]) == (
            f"192.168.{number}.2",
            f"192.168.{number}.1",
        )
        assert len(bridges(host)) == 1
        # Out by its gateway, masqueraded: the other host does not know this network.
        other = swarm.hosts[2 - number]
        assert "default via" in host.docker("exec", container(host), "ip", "route").stdout
        host.docker("exec", container(host), "ping", "-c", "1", "-W", "5", other.address)
    before = container(swarm.second)
    (bridge,) = bridges(swarm.second)
    made, written = mac(swarm.second, bridge), rules(swarm.second, bridge)
    assert "masquerade" in written
    run(*swarm.second.inside("nft", "flush", "ruleset"))
    eventually(lambda: rules(swarm.second, bridge) == written, "its rules are back", show=swarm.second.log)
    # A bridge without a MAC of its own takes the lowest of its ports'.
    low = ("link", "add", "low", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "low-peer")
    run(*swarm.second.inside("ip", *low))
    run(*swarm.second.inside("ip", "link", "set", "low", "master", bridge, "up"))
    assert mac(swarm.second, bridge) == made
    run(*swarm.second.inside("ip", "link", "delete", "low"))
    swarm.second.stop()
    swarm.second.start()
    eventually(lambda: swarm.second.docker("ps", "-q").stdout.split() == [before], "it runs on", show=swarm.second.log)
    swarm.second.docker("exec", before, "ping", "-c", "1", "-W", "5", swarm.first.address)
    ended(swarm)
    for host in swarm.hosts:
        eventually(lambda host=host: not bridges(host), "its bridge is gone", show=host.log)  # type: ignore[misc]
    swarm.first.docker("network", "rm", "own")


def test_macvlan_puts_containers_beside_the_hosts(swarm: Pair) -> None:
    for number, host in enumerate(swarm.hosts, 1):
        host.docker(
            "network", "create", "--config-only", "--subnet", "10.55.0.0/24", "--gateway", "10.55.0.254",
            "--ip-range", f"10.55.0.{number * 16}/28", "-o", "parent=eth0", "lan-base",
        )  # fmt: skip
    swarm.first.docker("network", "create", "-d", "macvlan", "--scope", "swarm", "--config-from", "lan-base", "lan")
    service(swarm, "lan")
    wait_running(swarm.first, "web", {"first": 1, "second": 1})
    addresses = [on(host, "lan")["IPAddress"] for host in swarm.hosts]
    assert addresses == ["10.55.0.16", "10.55.0.32"]
    swarm.first.docker("exec", container(swarm.first), "ping", "-c", "1", "-W", "5", addresses[1])
    ended(swarm)
    swarm.first.docker("network", "rm", "lan")


def test_a_node_without_the_configuration_says_so_on_the_task(swarm: Pair) -> None:
    swarm.first.docker("network", "create", "-d", "bridge", "--scope", "swarm", "--config-from", "nowhere", "lost")
    service(swarm, "lost")
    words = 'configuration network "nowhere" does not exist'
    eventually(
        lambda: any(words in task["Status"].get("Err", "") for task in tasks(swarm.first, "web")),
        "a task says what is missing",
    )
    ended(swarm)
    swarm.first.docker("network", "rm", "lost")
