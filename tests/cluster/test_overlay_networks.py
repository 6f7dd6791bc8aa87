"""Overlay networks of a swarm of two hosts, driven by Docker's own command: addresses, names, virtual IPs, and what is
left of them when a process is killed, a daemon is restarted, a service or a network goes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.swarms import IMAGE, Pair, join, make_swarm, tasks, wait_running
from tests.harness.hosts import REPOSITORY, Host, eventually, run
from tests.harness.network import network

pytestmark = pytest.mark.root

# Each task answers with its own name. A request is one connection.
SERVE = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
# A task counts as running once its server listens: a connection that comes before is refused.
WELL = ("--health-cmd", "wget -q -O /dev/null http://127.0.0.1/", "--health-interval", "300ms")
PROCESS = "shoal.network.process.program"


@pytest.fixture(scope="module")
def swarm() -> Iterator[Pair]:
    with network("overlaynets") as net:
        first, second = net.add("first"), net.add("second")
        join(second, first, make_swarm(first))
        yield Pair(first, second)
        second.docker("swarm", "leave")
        first.docker("swarm", "leave", "--force")
        for host in (first, second):
            eventually(lambda host=host: not processes(host), "its network process is gone", show=host.log)  # type: ignore[misc]
            assert os.listdir(host.exec_root / "network") == ["lock"]


@pytest.fixture
def blue(swarm: Pair) -> Iterator[str]:
    swarm.first.docker("network", "create", "-d", "overlay", "--attachable", "blue")
    yield "blue"
    for name in swarm.first.docker("service", "ls", "-q").stdout.split():
        swarm.first.docker("service", "rm", name)
    for host in swarm.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its containers are gone", show=host.log)  # type: ignore[misc]
    swarm.first.docker("network", "rm", "blue")


def processes(host: Host) -> list[int]:
    """Return the network processes of a host."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if PROCESS.encode() in command and str(host.folder).encode() in command:
            found.append(int(entry.name))
    return found


def create(swarm: Pair, *arguments: str) -> None:
    """Create a service. Its tasks run as process 1 and hear no SIGTERM, so they are not given long."""
    swarm.first.docker("service", "create", "-d", "--no-resolve-image", "--stop-grace-period", "1s", *arguments)


def serve(swarm: Pair, name: str, replicas: int, *flags: str) -> None:
    create(
        swarm, "--name", name, "--network", "blue", "--replicas",
        str(replicas), *flags, IMAGE, "sh", "-c", SERVE,
    )  # fmt: skip
    wait_running(swarm.first, name, {"first": replicas // 2, "second": replicas // 2})


def containers(host: Host, service: str) -> list[str]:
    return host.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").stdout.split()


def look_up(host: Host, container: str, name: str) -> set[str]:
    """Return the addresses of a name, as a container is told."""
    lines = host.docker("exec", container, "nslookup", name, check=False).stdout.splitlines()
    answer = lines[next((at for at, line in enumerate(lines) if line.startswith("Name:")), len(lines)) :]
    return {line.split()[-1] for line in answer if line.startswith("Address")}


def ask(host: Host, container: str, address: str, times: int) -> Counter[str]:
    """Return who answered how many requests from a container's network; the failed ones are "failed"."""
    (netns,) = [path for path in (host.exec_root / "netns").iterdir() if path.name.startswith(container)]
    script = f"for i in $(seq {times}); do curl -s -m 3 http://{address}/ || echo failed; done"
    return Counter(run("nsenter", f"--net={netns}", "sh", "-c", script).stdout.split())


def virtual_ip(swarm: Pair, service: str) -> str:
    shown = json.loads(swarm.first.docker("service", "inspect", service).stdout)[0]
    (found,) = shown["Endpoint"]["VirtualIPs"]
    return str(found["Addr"]).partition("/")[0]


def addresses(swarm: Pair, service: str) -> set[str]:
    """Return the addresses of the running tasks, as the API tells them."""
    return {
        task["NetworksAttachments"][0]["Addresses"][0].partition("/")[0]
        for task in tasks(swarm.first, service)
        if task["Status"]["State"] == "running" and task["DesiredState"] == "running"
    }


def everywhere(swarm: Pair, service: str) -> Iterator[tuple[Host, str]]:
    for host in swarm.hosts:
        for container in containers(host, service):
            yield host, container


def wait_names(swarm: Pair, service: str, asker: str | None = None) -> None:
    """Wait until every task is told of all tasks, and of no others."""

    def known() -> bool:
        wanted = addresses(swarm, service)
        return all(
            look_up(host, container, f"tasks.{service}") == wanted
            for host, container in everywhere(swarm, asker or service)
        )

    eventually(known, f"all know the tasks of {service}", show=lambda: swarm.first.log() + swarm.second.log())


def test_tasks_have_names_and_a_virtual_ip_that_spreads_over_both_hosts(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 4)
    wait_names(swarm, "web")
    vip = virtual_ip(swarm, "web")
    names = {container for _, container in everywhere(swarm, "web")}
    for host, container in everywhere(swarm, "web"):
        assert look_up(host, container, "web") == look_up(host, container, "web.blue") == {vip}
        assert look_up(host, container, "nobody") == set()
        # Each task is asked, the asker too (known fault 32).
        assert ask(host, container, vip, 12) == Counter(dict.fromkeys(names, 3))
        resolv = host.docker("exec", container, "cat", "/etc/resolv.conf").stdout
        assert "nameserver 127.0.0.11" in resolv
        hosts = host.docker("exec", container, "cat", "/etc/hosts").stdout
        assert any(f"{address}\t{container}" in hosts for address in addresses(swarm, "web"))


def doctor(swarm: Pair, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Ask the manager's doctor, and so both nodes; its exit code and its rows."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{swarm.first.socket}"),
            *("network", "doctor", "--format", "json", *arguments),
        ),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["Rows"]


@contextmanager
def flushing(netns: Path, of: str) -> Iterator[None]:
    """Have a program flush a map of our rules again and again: after one time alone it is soon mended."""
    again = f"while :; do nft flush map inet shoal_vips {of} || :; sleep 0.05; done"
    process = subprocess.Popen(("nsenter", f"--net={netns}", "sh", "-c", again), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_the_doctor_finds_nothing_and_then_what_somebody_broke(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2)
    wait_names(swarm, "web")
    vip, both = virtual_ip(swarm, "web"), " ".join(sorted(addresses(swarm, "web"), key=ip_address))
    (container,) = containers(swarm.first, "web")
    ask(swarm.first, container, vip, 4)
    eventually(lambda: doctor(swarm, "blue")[0] == 0, "nothing differs", show=lambda: str(doctor(swarm, "blue", "-d")))
    rows = {(row["Kind"], row["Subject"].partition(" ")[0]): row for row in doctor(swarm, "web")[1]}
    assert rows["name", "web"]["Nodes"] == {"first": vip, "second": vip}
    assert rows["name", "tasks.web"]["Nodes"] == rows["virtual IP", vip]["Nodes"] == {"first": both, "second": both}
    answered = [part.rpartition(":") for part in rows["connections", vip]["Nodes"]["first"].split()]
    assert {address for address, _, _ in answered} == set(both.split())
    for address in both.split():
        assert rows["address", address]["Store"].endswith(", running")
        assert sorted(place[:3] for place in rows["neighbour", address]["Nodes"].values()) == ["02:", "her"]

    (netns,) = [path for path in (swarm.first.exec_root / "netns").iterdir() if path.name.startswith(container)]
    with flushing(netns, "vips4"):
        _, rows_now = eventually(
            lambda: (told := doctor(swarm, "blue", "-d"))[0] == 1 and told, "it is marked", show=swarm.first.log
        )
    assert [row["Kind"] for row in rows_now] == ["virtual IP"]
    assert rows_now[0]["Differences"][0].endswith(f"the rules lead to -, and should to {both}")
    eventually(lambda: doctor(swarm, "blue")[0] == 0, "it is mended", show=swarm.first.log)


def test_tasks_on_a_network_of_both_families_have_two_addresses_two_names_and_two_virtual_ips(swarm: Pair) -> None:
    swarm.first.docker(
        "network", "create", "-d", "overlay", "--ipv6", "--subnet", "10.66.0.0/24", "--subnet", "fd66::/64", "both"
    )
    swarm.first.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "web", "--network", "both", "--replicas", "2",
        "--dns-option", "ndots:1", "--dns-search", "example.com", IMAGE, "sh", "-c", SERVE,
    )  # fmt: skip
    wait_running(swarm.first, "web", {"first": 1, "second": 1})
    given = [task["NetworksAttachments"][0]["Addresses"] for task in tasks(swarm.first, "web")]
    every = {address.partition("/")[0] for addresses in given for address in addresses}
    assert len(every) == 4
    shown = json.loads(swarm.first.docker("service", "inspect", "web").stdout)[0]
    vips = [vip["Addr"].partition("/")[0] for vip in shown["Endpoint"]["VirtualIPs"]]
    assert [":" in vip for vip in vips] == [False, True]
    names = {container for _, container in everywhere(swarm, "web")}
    for host, container in everywhere(swarm, "web"):
        eventually(lambda: look_up(host, container, "tasks.web") == every, "all know all", show=host.log)  # noqa: B023
        # With a search list, busybox asks for no name of one label as it is.
        assert look_up(host, container, "web.both") == set(vips)
        for vip in (vips[0], f"[{vips[1]}]"):
            assert ask(host, container, vip, 4) == Counter(dict.fromkeys(names, 2))
        own = json.loads(host.docker("inspect", container).stdout)[0]["NetworkSettings"]["Networks"]["both"]
        hosts = host.docker("exec", container, "cat", "/etc/hosts").stdout
        assert f"{own['IPAddress']}\t{container}" in hosts
        assert f"{own['GlobalIPv6Address']}\t{container}" in hosts
        assert {own["IPAddress"], own["GlobalIPv6Address"]} < every
        resolv = host.docker("exec", container, "cat", "/etc/resolv.conf").stdout
        assert resolv == "nameserver 127.0.0.11\nsearch example.com\noptions ndots:1\n"
    swarm.first.docker("service", "rm", "web")
    for host in swarm.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its containers are gone", show=host.log)  # type: ignore[misc]
    swarm.first.docker("network", "rm", "both")


def test_a_task_on_an_overlay_reaches_what_is_outside(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2)
    for host, container in everywhere(swarm, "web"):
        gateway = host.docker("exec", container, "ip", "route").stdout
        assert gateway.startswith("default via "), gateway
        assert "dev eth1" in gateway.splitlines()[0]


def test_services_of_different_networks_do_not_see_each_other(swarm: Pair, blue: str) -> None:
    swarm.first.docker("network", "create", "-d", "overlay", "red")
    serve(swarm, "web", 2)
    create(
        swarm, "--name", "other", "--network", "red", "--replicas", "2",
        IMAGE, "sh", "-c", SERVE,
    )  # fmt: skip
    wait_running(swarm.first, "other", {"first": 1, "second": 1})
    wait_names(swarm, "web")
    (asker,) = containers(swarm.first, "other")
    assert look_up(swarm.first, asker, "web") == look_up(swarm.first, asker, "tasks.web") == set()
    assert ask(swarm.first, asker, sorted(addresses(swarm, "web"))[0], 1) == Counter(["failed"])
    swarm.first.docker("service", "rm", "other")
    eventually(lambda: not any(containers(host, "other") for host in swarm.hosts), "it is gone")
    swarm.first.docker("network", "rm", "red")


def test_with_dns_round_robin_there_is_no_virtual_ip(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2, "--endpoint-mode", "dnsrr")
    wait_names(swarm, "web")
    for host, container in everywhere(swarm, "web"):
        assert look_up(host, container, "web") == addresses(swarm, "web")


def test_names_and_connections_outlive_the_daemon_and_a_killed_network_process(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2)
    wait_names(swarm, "web")
    vip = virtual_ip(swarm, "web")
    (asker,) = containers(swarm.first, "web")
    before = addresses(swarm, "web")
    swarm.first.stop(signal.SIGKILL)
    assert sorted(ask(swarm.first, asker, vip, 8).values()) == [4, 4]
    swarm.first.start()
    eventually(lambda: addresses(swarm, "web") == before, "the manager is back", patience=60)
    (process,) = processes(swarm.first)
    os.kill(process, signal.SIGKILL)
    eventually(lambda: processes(swarm.first) not in ([], [process]), "another took its place")
    wait_names(swarm, "web")
    assert ask(swarm.first, asker, vip, 8)["failed"] == 0


@pytest.fixture
def asked(swarm: Pair, blue: str) -> tuple[str, str]:
    """Return a container on the first host, and the virtual IP of two tasks on the second."""
    for name, where, *rest in (
        ("web", "second", "--replicas", "2", IMAGE, "sh", "-c", SERVE),
        ("asker", "first", IMAGE, "sleep", "1d"),
    ):
        create(
            swarm, "--name", name, "--network", blue,
            "--constraint", f"node.hostname=={where}", *rest,
        )  # fmt: skip
    wait_running(swarm.first, "web", {"second": 2})
    wait_running(swarm.first, "asker", {"first": 1})
    wait_names(swarm, "web", "asker")
    (asker,) = containers(swarm.first, "asker")
    return asker, virtual_ip(swarm, "web")


@contextmanager
def load(host: Host, asker: str, address: str) -> Iterator[Counter[str]]:
    """Ask all the time from a container; yields who answered so far. At least ten are asked before the end."""
    over, results = threading.Event(), Counter[str]()

    def ask_on() -> None:
        while not over.is_set():
            results.update(ask(host, asker, address, 5))

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield results
        before = results.total()
        eventually(lambda: results.total() >= before + 10, "it still asks")
    finally:
        over.set()
        thread.join()


@contextmanager
def connected(host: Host, container: str, address: str) -> Iterator[Callable[[], str]]:
    """Open a connection from a container's network; yields what asks on it and returns the answer's last line."""
    (netns,) = [path for path in (host.exec_root / "netns").iterdir() if path.name.startswith(container)]
    script = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], 80), 10); print('open', flush=True); input();"
        "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
    )
    command = ["nsenter", f"--net={netns}", "python3", "-c", script, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "open\n"
        try:
            yield lambda: client.communicate("now\n", timeout=20)[0]
        finally:
            client.kill()


def test_network_processes_that_are_killed_cost_no_connection_and_no_name(swarm: Pair, asked: tuple[str, str]) -> None:
    asker, vip = asked
    for host in swarm.hosts:
        kept = host.exec_root / "network" / "others.json"
        eventually(lambda kept=kept: kept.exists() and len(kept.read_bytes()) > 2, "what others wrote is kept")  # type: ignore[misc]
    tasks_of_web = addresses(swarm, "web")
    with load(swarm.first, asker, vip) as results, connected(swarm.first, asker, vip) as answer:
        for host in (*swarm.hosts, *swarm.hosts):
            (process,) = processes(host)
            os.kill(process, signal.SIGKILL)
            gone = [process]
            eventually(lambda host=host, gone=gone: processes(host) not in ([], gone), "another took its place")  # type: ignore[misc]
            # It answers, although gossip has told it nothing yet; the others go on with what its last one had said.
            eventually(lambda: look_up(swarm.first, asker, "tasks.web") == tasks_of_web, "names are there")
        said = answer()
        assert any(one in said for one in containers(swarm.second, "web")), said
    wait_names(swarm, "web", "asker")
    assert results["failed"] == 0, results


def test_a_node_whose_network_process_is_stuck_keeps_its_connections(swarm: Pair, asked: tuple[str, str]) -> None:
    asker, vip = asked
    (inside, _) = containers(swarm.second, "web")
    (process,) = processes(swarm.first)
    with load(swarm.first, asker, vip) as results:
        os.kill(process, signal.SIGSTOP)
        try:
            eventually(lambda: not look_up(swarm.second, inside, "asker"), "the other takes it for dead", patience=60)
            before = results.total()
            eventually(lambda: results.total() >= before + 10, "it still asks")
        finally:
            os.kill(process, signal.SIGCONT)
    wait_names(swarm, "web", "asker")
    wait_names(swarm, "asker", "web")
    assert results["failed"] == 0, results


def test_an_update_under_load_loses_no_request(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2, *WELL, "--update-order", "start-first", "--update-delay", "0s")
    create(
        swarm, "--name", "asker", "--network", "blue", "--replicas", "2",
        IMAGE, "sleep", "1d",
    )  # fmt: skip
    wait_running(swarm.first, "asker", {"first": 1, "second": 1})
    wait_names(swarm, "web", "asker")
    vip = virtual_ip(swarm, "web")
    with contextlib.ExitStack() as loads:
        results = [loads.enter_context(load(host, containers(host, "asker")[0], vip)) for host in swarm.hosts]
        before = addresses(swarm, "web")
        swarm.first.docker("service", "update", "-d", "--force", "web")
        settled(swarm, lambda: not addresses(swarm, "web") & before)
        swarm.first.docker("service", "scale", "-d", "web=4")
        settled(swarm, lambda: len(addresses(swarm, "web")) == 4)
        swarm.first.docker("service", "scale", "-d", "web=2")
        settled(swarm, lambda: len(addresses(swarm, "web")) == 2)
        wait_names(swarm, "web", "asker")
    assert [one["failed"] for one in results] == [0, 0], results


def settled(swarm: Pair, done: Callable[[], bool]) -> None:
    def is_settled() -> bool:
        states = [(task["Status"]["State"], task["DesiredState"]) for task in tasks(swarm.first, "web")]
        return done() and all(state == desired or desired == "shutdown" for state, desired in states)

    eventually(is_settled, "it has settled", patience=90, show=swarm.first.log)


def test_a_network_in_use_is_not_removed_and_what_it_made_is_gone_with_its_last_task(swarm: Pair, blue: str) -> None:
    serve(swarm, "web", 2)
    refused = swarm.first.docker("network", "rm", "blue", check=False)
    assert "is in use by service" in refused.stderr
    overlays = [host.exec_root / "network" / "overlays" for host in swarm.hosts]
    network_id = swarm.first.docker("network", "inspect", "-f", "{{.Id}}", "blue").stdout.strip()
    assert all(network_id in os.listdir(folder) for folder in overlays)
    swarm.first.docker("service", "rm", "web")
    eventually(
        lambda: not any(network_id in os.listdir(folder) for folder in overlays), "its overlay is gone from both hosts"
    )


def test_a_node_that_comes_back_with_another_address_is_reached_there(swarm: Pair, blue: str) -> None:
    """Its host was switched off, and has another address now: the tunnels to the former one are gone on the others."""
    serve(swarm, "web", 2)
    wait_names(swarm, "web")
    first, second = swarm.hosts
    (asker,) = containers(first, "web")
    old, new = second.address, f"{second.address}0"
    card = json.loads(run("ip", "-n", second.namespace, "-j", "route", "get", first.address).stdout)[0]["dev"]

    def tunnels() -> str:
        """Return all forwarding entries of the overlays of the first host."""
        places = (first.exec_root / "network" / "overlays").iterdir()
        return "".join(run("nsenter", f"--net={place}", "bridge", "fdb").stdout for place in places)

    def move(former: str, address: str) -> None:
        second.stop()
        for process in processes(second):
            os.kill(process, signal.SIGKILL)
        eventually(lambda: not processes(second), "its network process is gone", show=second.log)
        run("ip", "-n", second.namespace, "address", "del", f"{former}/24", "dev", card)
        run("ip", "-n", second.namespace, "address", "add", f"{address}/24", "dev", card)
        second.address = address
        second.start()

    try:
        move(old, new)
        wait_running(first, "web", {"first": 1, "second": 1})
        eventually(lambda: f"dst {new} " in tunnels(), "the first reaches the second there", show=first.log)
        eventually(lambda: f"dst {old} " not in tunnels(), "nothing leads to where it was", show=first.log)
        for address in addresses(swarm, "web"):
            eventually(
                lambda address=address: "failed" not in ask(first, asker, address, 1),  # type: ignore[misc]
                "each task is reached",
                show=lambda: first.log() + second.log(),
            )
    finally:
        move(new, old)
        wait_running(first, "web", {"first": 1, "second": 1})
