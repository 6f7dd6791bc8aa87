"""One overlay over a Shoal node and an unmodified Docker Engine: names and packets go both ways, and disappear with the
tasks.

The services use DNS round robin, because Docker has no virtual IPs without IP_VS, which most kernels of the tests lack.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.swarms import IMAGE, make_swarm, tasks, token, wait_running
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import REPOSITORY, Host, eventually, run
from tests.harness.network import network
from tests.interop.conftest import import_image

pytestmark = pytest.mark.root

SERVE = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
# The Engine calls managers that did not answer only every 60 s. After that everything takes a second or two.
SOON = 30.0


@dataclass
class Mixed:
    shoal: Host
    engine: DockerEngine


@pytest.fixture(scope="module")
def mixed() -> Iterator[Mixed]:
    with network("mixedoverlay") as net:
        shoal, engine = net.add("shoal"), net.add_docker("docker")
        import_image(engine)
        make_swarm(shoal)
        eventually(lambda: gossips(shoal), "it gossips", show=shoal.log)
        engine.docker("swarm", "join", "--token", token(shoal), f"{shoal.address}:2377")
        shoal.docker("network", "create", "-d", "overlay", "--attachable", "blue")
        shoal.docker(
            "service", "create", "-d", "--no-resolve-image", "--name", "web", "--network", "blue", "--endpoint-mode",
            "dnsrr", "--replicas", "2", "--stop-signal", "KILL", "--restart-delay", "0s", IMAGE, "sh", "-c", SERVE,
        )  # fmt: skip
        wait_running(shoal, "web", {"shoal": 1, "docker": 1}, patience=60)
        yield Mixed(shoal, engine)
        shoal.docker("service", "rm", "web")
        eventually(lambda: not shoal.docker("ps", "-q").stdout, "its container is gone")


def gossips(host: Host) -> bool:
    return ":7946" in run(*host.inside("ss", "-Hltn")).stdout


def container(host: Host | DockerEngine) -> str:
    (found,) = host.docker("ps", "-q").stdout.split()
    return found


def look_up(host: Host | DockerEngine, name: str) -> set[str]:
    lines = host.docker("exec", container(host), "nslookup", name, check=False).stdout.splitlines()
    answer = lines[next((at for at, line in enumerate(lines) if line.startswith("Name:")), len(lines)) :]
    return {line.split()[-1] for line in answer if line.startswith("Address")}


def addresses(mixed: Mixed) -> dict[str, str]:
    """Return the addresses of the running tasks, by the ids of their containers."""
    return {
        task["Status"]["ContainerStatus"]["ContainerID"][:12]: attached["Addresses"][0].partition("/")[0]
        for task in tasks(mixed.shoal, "web")
        if task["Status"]["State"] == "running" and task["DesiredState"] == "running"
        for attached in task["NetworksAttachments"]
        if attached["Network"]["Spec"]["Name"] == "blue"
    }


def get(host: Host | DockerEngine, address: str) -> str:
    """Ask a task's server from a container of a host. Returns its answer, or an empty text if there is none."""
    script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} 80 | tail -n 1"
    return host.docker("exec", container(host), "sh", "-c", script, check=False).stdout.strip()


def wait_for_names(mixed: Mixed) -> None:
    def known() -> bool:
        wanted = set(addresses(mixed).values())
        return all(
            look_up(host, name) == wanted for host in (mixed.shoal, mixed.engine) for name in ("web", "tasks.web")
        )

    eventually(known, "both know both", patience=SOON, show=lambda: mixed.shoal.log() + mixed.engine.log())


def test_tasks_of_both_reach_each_other_by_name_and_address(mixed: Mixed) -> None:
    wait_for_names(mixed)
    for host in (mixed.shoal, mixed.engine):
        assert {get(host, address): address for address in addresses(mixed).values()} == addresses(mixed)


def test_the_engine_shows_our_task_as_one_of_the_services(mixed: Mixed) -> None:
    wait_for_names(mixed)
    shown = json.loads(mixed.engine.docker("network", "inspect", "-v", "blue").stdout)[0]
    assert {peer["IP"] for peer in shown["Peers"]} == {mixed.shoal.address, mixed.engine.address}
    hosts = {task["EndpointIP"]: task["Info"]["Host IP"] for task in shown["Services"]["web"]["Tasks"]}
    ours = addresses(mixed)[container(mixed.shoal)]
    assert hosts[ours] == mixed.shoal.address
    assert set(hosts) == set(addresses(mixed).values())


def inspected(host: Host | DockerEngine) -> dict[str, Any]:
    """Return what a host shows of the network, lists in one order, without what each engine counts for itself."""
    shown: dict[str, Any] = json.loads(host.docker("network", "inspect", "-v", "blue").stdout)[0]
    shown["Peers"].sort(key=lambda peer: peer["Name"])
    for service in shown["Services"].values():
        del service["LocalLBIndex"]
        service["Tasks"].sort(key=lambda task: task["EndpointID"])
    return shown


def test_both_show_the_same_nodes_services_and_tasks_and_each_its_own_containers(mixed: Mixed) -> None:
    wait_for_names(mixed)
    ours, theirs = inspected(mixed.shoal), inspected(mixed.engine)
    for part in ("Name", "Id", "Scope", "Driver", "Attachable", "Ingress", "Peers", "Services"):
        assert ours[part] == theirs[part], part
    for host, shown in ((mixed.shoal, ours), (mixed.engine, theirs)):
        (own,) = [each for key, each in shown["Containers"].items() if key.startswith(container(host))]
        assert own.keys() == {"Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"}
        tasks_here = {task["EndpointID"]: task for task in shown["Services"]["web"]["Tasks"]}
        assert own["IPv4Address"] == f"{tasks_here[own['EndpointID']]['EndpointIP']}/24"
        assert own["Name"] == tasks_here[own["EndpointID"]]["Name"]


def test_the_doctor_asks_our_nodes_alone_and_finds_nothing(mixed: Mixed) -> None:
    wait_for_names(mixed)
    command = (sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{mixed.shoal.socket}", "network", "doctor")
    done = subprocess.run((*command, "--format", "json", "web"), cwd=REPOSITORY, capture_output=True, text=True)
    rows = json.loads(done.stdout)["Rows"]
    assert (done.returncode, [row for row in rows if row["Differences"]]) == (0, [])
    assert {(row["Kind"], row["Subject"]) for row in rows if "docker" in row["Nodes"]} == {
        ("no view", "not asked: it runs a Docker Engine")
    }
    for task, address in addresses(mixed).items():
        # To our own task no neighbour entry leads.
        kinds = ["address"] if task == container(mixed.shoal) else ["address", "neighbour"]
        assert [row["Kind"] for row in rows if row["Subject"].partition(" ")[0] == address] == kinds


@pytest.mark.parametrize("where", ["shoal", "docker"])
def test_a_task_that_is_gone_is_known_to_nobody_and_its_successor_to_both(mixed: Mixed, where: str) -> None:
    wait_for_names(mixed)
    host = mixed.shoal if where == "shoal" else mixed.engine
    before = addresses(mixed)[container(host)]
    host.docker("kill", container(host))
    eventually(lambda: before not in addresses(mixed).values() and len(addresses(mixed)) == 2, "another runs")
    wait_for_names(mixed)
    test_tasks_of_both_reach_each_other_by_name_and_address(mixed)


def test_an_engine_is_on_a_network_of_both_families_with_its_first_address(mixed: Mixed) -> None:
    mixed.shoal.docker(
        "network", "create", "-d", "overlay", "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd77::/64", "both"
    )
    mixed.shoal.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "two", "--network", "both", "--endpoint-mode",
        "dnsrr", "--mode", "global", IMAGE, "sh", "-c", SERVE,
    )  # fmt: skip
    wait_running(mixed.shoal, "two", {"shoal": 1, "docker": 1}, patience=60)
    label = "label=com.docker.swarm.service.name=two"
    here, there = (host.docker("ps", "-q", "-f", label).stdout.strip() for host in (mixed.shoal, mixed.engine))
    given = {
        task["Status"]["ContainerStatus"]["ContainerID"][:12]: [
            address.partition("/")[0] for address in task["NetworksAttachments"][0]["Addresses"]
        ]
        for task in tasks(mixed.shoal, "two")
    }
    # An Engine gives its own endpoint an address of IPv6 by itself: no task may have that one and fail.
    assert len(given) == 2
    assert all(len(addresses) == 2 for addresses in given.values())

    def asked(host: Host | DockerEngine, own: str, kind: str) -> set[str]:
        lines = host.docker("exec", own, "nslookup", f"-type={kind}", "two", check=False).stdout.splitlines()
        answer = lines[next((at for at, line in enumerate(lines) if line.startswith("Name:")), len(lines)) :]
        return {line.split()[-1] for line in answer if line.startswith("Address")}

    fours = {addresses[0] for addresses in given.values()}
    for host, own in ((mixed.shoal, here), (mixed.engine, there)):
        eventually(lambda host=host, own=own: asked(host, own, "a") == fours, "it knows both", patience=SOON)  # type: ignore[misc]
    # What an Engine tells of its own task is its first address; ours tells of both, which no Engine reads.
    assert asked(mixed.shoal, here, "aaaa") == {given[here][1]}
    assert asked(mixed.engine, there, "aaaa") == set()
    request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {} 80 | tail -n 1"
    for host, own, other in ((mixed.shoal, here, there), (mixed.engine, there, here)):
        said = host.docker("exec", own, "sh", "-c", request.format(given[other][0])).stdout.strip()
        assert said == other
    mixed.shoal.docker("service", "rm", "two")
    eventually(lambda: len(mixed.engine.docker("ps", "-q").stdout.split()) == 1, "its task is gone")
    mixed.shoal.docker("network", "rm", "both")


def test_a_network_process_that_is_killed_is_missed_by_nobody(mixed: Mixed) -> None:
    wait_for_names(mixed)
    run("pkill", "-KILL", "-f", f"shoal.network.process.program --folder={mixed.shoal.exec_root}/network")
    eventually(lambda: gossips(mixed.shoal), "it gossips again", show=mixed.shoal.log)
    test_tasks_of_both_reach_each_other_by_name_and_address(mixed)


def test_our_mesh_leads_to_the_engines_task_and_the_engine_knows_ours(mixed: Mixed) -> None:
    """The Engine's own mesh needs IP_VS; what it would need of us is in its tables."""
    shoal = mixed.shoal
    shoal.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "pub", "--publish", "8080:80", "--replicas", "2",
        "--replicas-max-per-node", "1", "--stop-signal", "KILL", IMAGE, "sh", "-c", SERVE,
    )  # fmt: skip
    try:
        wait_running(shoal, "pub", {"shoal": 1, "docker": 1}, patience=60)
        ours, theirs = (
            host.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=pub").stdout.strip()
            for host in (shoal, mixed.engine)
        )

        def answers(address: str) -> set[str]:
            script = f"for i in 1 2 3 4; do curl -s -m 5 http://{address}:8080/ || echo failed; done"
            return set(run(*shoal.inside("sh", "-c", script)).stdout.split())

        for address in ("127.0.0.1", shoal.address, "[::1]"):
            eventually(
                lambda address=address: answers(address) == {ours, theirs},  # type: ignore[misc]
                "both answer",
                show=lambda: f"{answers(shoal.address)} of {ours} {theirs}\n{shoal.log()}{mixed.engine.log()}",
            )
        told = {
            task["Status"]["ContainerStatus"]["ContainerID"][:12]: task["NetworksAttachments"][0]["Addresses"][0]
            for task in tasks(shoal, "pub")
        }
        shown = json.loads(mixed.engine.docker("network", "inspect", "-v", "ingress").stdout)[0]
        hosts = {task["EndpointIP"]: task["Info"]["Host IP"] for task in shown["Services"]["pub"]["Tasks"]}
        assert hosts[told[ours].partition("/")[0]] == shoal.address
        assert any("8080" in port for port in shown["Services"]["pub"]["Ports"])
    finally:
        shoal.docker("service", "rm", "pub")
        for host in (shoal, mixed.engine):
            eventually(lambda host=host: len(host.docker("ps", "-q").stdout.split()) == 1, "its task is gone")  # type: ignore[misc]
