"""Published ports over IPv6, on a swarm of three hosts and a client outside with addresses of both kinds: who answers
where, what a change of tasks costs, and what is left of it. Of ports of nodes themselves (mode=host): that shoald's end
costs nothing. The rest of those is in test_host_ports6."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.cluster.swarms import join, make_swarm, wait_running
from tests.cluster.test_overlay_networks import containers, processes
from tests.cluster.test_published_ports import (
    ASK_UDP,
    SERVE_UDP,
    WELL,
    Load,
    Swarm,
    ask,
    create,
    mesh_of,
    netns_of,
    node,
    on_two,
    serving,
    wait_updated,
)
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import network

pytestmark = pytest.mark.root

FAMILY = "socket.socket(socket.AF_INET6, "


class Load6(Load):
    """The same over IPv6."""

    def __init__(self, client: Host, addresses: Sequence[str], path: str = "/", port: str = "8080") -> None:
        super().__init__(client, addresses, path)
        replaced = {"8080": port}
        self._command = [
            replaced.get(word, word.replace("socket.socket()", "socket.socket(socket.AF_INET6)"))
            for word in self._command
        ]


@dataclass
class Swarm6(Swarm):
    """The hosts' addresses are those of IPv6."""

    @property
    def addresses(self) -> list[str]:
        return [six(host) for host in self.hosts]


def six(host: Host) -> str:
    return f"2001:db8::{host.address.rpartition('.')[2]}"


def seen(asker: Host, address: str, times: int = 4, port: int = 8080, path: str = "/index.html") -> dict[str, int]:
    return dict(ask(asker, f"[{address}]", port, times, path))


@pytest.fixture(scope="module")
def shared() -> Iterator[Swarm6]:
    with network("ports6") as net:
        first, second, third = (net.add(name, start=False) for name in ("first", "second", "third"))
        client = net.add("client", start=False)
        for host in (first, second, third, client):
            run("ip", "-n", host.namespace, "address", "add", f"{six(host)}/64", "dev", "eth0", "nodad")
        for host in (first, second, third):
            host.start()
        token = make_swarm(first)
        join(second, first, token)
        join(third, first, token)
        # A daemon that is killed and started again on a slow machine is none that is gone.
        first.docker("swarm", "update", "--dispatcher-heartbeat", "1m")
        yield Swarm6(first, second, third, client)
        for host in (second, third):
            host.docker("swarm", "leave")
        first.docker("swarm", "leave", "--force")
        for host in (first, second, third):
            eventually(lambda host=host: not processes(host), "its network process is gone", show=host.log)  # type: ignore[misc]
            assert of_ipv6(host) == [], host.name
            assert mesh_of(host) == [], host.name


@pytest.fixture
def swarm(shared: Swarm6) -> Iterator[Swarm6]:
    yield shared
    for server in shared.servers:
        server.kill()
        server.communicate()
    shared.servers.clear()
    for host in shared.hosts:
        shared.first.docker("node", "update", "--availability", "active", node(shared, host))
    if services := shared.first.docker("service", "ls", "-q").stdout.split():
        shared.first.docker("service", "rm", *services)
    for host in shared.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its containers are gone", show=host.log)  # type: ignore[misc]
        eventually(lambda host=host: not of_ipv6(host), "nothing is translated", show=host.log)  # type: ignore[misc]


def of_ipv6(host: Host) -> list[str]:
    """Return what there is of translations on a host: devices, tables, routes."""
    found = [line for line in run(*host.inside("ip", "-o", "link")).stdout.splitlines() if " s64" in line]
    found += [line for line in run(*host.inside("nft", "list", "tables")).stdout.splitlines() if "ip6 " in line]
    routes = run(*host.inside("ip", "-6", "route", "show", "table", "all")).stdout.splitlines()
    return found + [line for line in routes if " s64" in line]


def wait_served6(swarm: Swarm6, *by: str) -> None:
    def led() -> bool:
        return all(set(seen(swarm.client, one, 2 * len(by))) == set(by) for one in swarm.addresses)

    eventually(led, f"every node leads to {by} over IPv6", every=0.1, show=swarm.log)


def test_every_node_answers_over_ipv6(swarm: Swarm6) -> None:
    """Also one without a task, and each to itself. Servers here listen on IPv4 alone."""
    one, two = on_two(swarm)
    wait_served6(swarm, one, two)
    for address in swarm.addresses:
        assert seen(swarm.client, address) == {one: 2, two: 2}, address
    for host in swarm.hosts:
        for address in ("::1", *swarm.addresses):
            assert seen(host, address) == {one: 2, two: 2}, f"{host.name} {address}"
    # As with Docker it is the node that asks.
    whom = {line.split()[1] for one in swarm.addresses for line in seen(swarm.client, one, path="/cgi-bin/who")}
    assert all(address.startswith(("10.0.0.", "172.", "192.168.")) for address in whom), whom
    # Over IPv4 nothing has changed.
    for answers in swarm.answers().values():
        assert answers == {f"{each} {swarm.client.address}": 3 for each in (one, two)}


def test_datagrams_as_well(swarm: Swarm6) -> None:
    create(swarm, "--publish", "5353:53/udp", "--constraint", "node.hostname==second", replicas=1)
    wait_running(swarm.first, "web", {"second": 1})
    (container,) = containers(swarm.second, "web")
    wait_served6(swarm, container)
    server = subprocess.Popen(
        ["nsenter", f"--net={netns_of(swarm.second, container)}", sys.executable, "-c", SERVE_UDP, container],
        stdout=subprocess.PIPE,
        text=True,
    )
    swarm.servers.append(server)
    assert server.stdout
    assert server.stdout.readline() == "up\n"
    script = ASK_UDP.replace("socket.socket(", FAMILY)
    for host in swarm.hosts:
        for asker, address in ((swarm.client, six(host)), (host, "::1")):
            answer = run(*asker.inside(sys.executable, "-c", script, address, "5353")).stdout
            assert answer.split()[0] == container, f"{host.name} {address}"


def test_a_service_can_have_dockers_way(swarm: Swarm6) -> None:
    one, two = on_two(swarm, "--label", "shoal.ingress.source-ip=false")
    wait_served6(swarm, one, two)


def test_planned_changes_lose_no_request(swarm: Swarm6) -> None:
    create(swarm, *WELL, "--update-order", "start-first", "--update-delay", "0s", "--update-parallelism", "1")
    eventually(lambda: len(serving(swarm)) == 2, "they run", show=swarm.log)
    wait_served6(swarm, *serving(swarm))
    with Load6(swarm.client, swarm.addresses) as load:
        before = serving(swarm)
        swarm.first.docker("service", "update", "-d", "--force", "web")
        wait_updated(swarm, before)
        before = serving(swarm)
        swarm.first.docker("service", "update", "-d", "--force", "--update-order", "stop-first", "web")
        wait_updated(swarm, before)
        swarm.first.docker("service", "scale", "-d", "web=4")
        eventually(lambda: len(serving(swarm)) == 4, "there are four", show=swarm.log)
        swarm.first.docker("service", "scale", "-d", "web=2")
        eventually(lambda: len(serving(swarm)) == 2, "there are two", show=swarm.log)
        wait_served6(swarm, *serving(swarm))
    assert load.errors[:5] == []
    assert sum(load.answers.values()) > 100


def test_what_keeps_it_up_can_be_killed(swarm: Swarm6) -> None:
    """Network process and daemon under load; the mesh's port, and one of a node itself."""
    host_port = ("--publish", "mode=host,target=80,published=8090")
    one, two = on_two(swarm, *host_port)
    wait_served6(swarm, one, two)
    kept = swarm.second.exec_root / "network" / "others.json"
    eventually(lambda: one.encode().hex() in kept.read_text(), "it has kept what others wrote")
    with (
        Load6(swarm.client, swarm.addresses) as load,
        Load6(swarm.client, [six(swarm.second)], port="8090") as own,
    ):
        (process,) = processes(swarm.second)
        os.kill(process, signal.SIGKILL)
        eventually(lambda: processes(swarm.second) not in ([], [process]), "another is there")
        swarm.second.stop(signal.SIGKILL)
        swarm.second.start()
        wait_served6(swarm, one, two)
    assert load.errors[:5] == []
    assert load.answers.keys() == {one, two}
    assert own.errors[:5] == []
    assert own.answers.keys() == {two}


def test_what_others_flush_comes_back_and_a_users_drop_holds(swarm: Swarm6) -> None:
    one, two = on_two(swarm)
    wait_served6(swarm, one, two)
    for host in swarm.hosts:
        run(*host.inside("nft", "flush", "ruleset"))
    wait_served6(swarm, one, two)
    user = (
        "add table ip6 mine; add chain ip6 mine pre { type filter hook prerouting priority mangle; }; "
        f"add rule ip6 mine pre tcp dport 8080 ip6 saddr {six(swarm.client)} drop"
    )
    run(*swarm.third.inside("nft", user))
    try:
        swarm.first.docker("service", "update", "-d", "--force", "web")
        wait_updated(swarm, {one, two})
        assert set(ask(swarm.client, f"[{six(swarm.third)}]", 8080, 1, "/", patience=1.0)) == {"failed 28"}
        assert "failed" not in str(seen(swarm.client, six(swarm.first), 2))
    finally:
        run(*swarm.third.inside("nft", "delete table ip6 mine"))


def test_nothing_else_is_open_and_a_port_that_is_gone_is_free(swarm: Swarm6) -> None:
    one, two = on_two(swarm)
    wait_served6(swarm, one, two)
    for address in swarm.addresses:
        assert set(seen(swarm.client, address, 1, port=80)) == {"failed 7"}
    swarm.first.docker("service", "update", "-d", "--publish-rm", "80", "web")
    bind = "import socket; socket.create_server(('::', 8080), family=socket.AF_INET6)"
    for host in swarm.hosts:
        eventually(
            lambda host=host: set(seen(swarm.client, six(host), 1)) == {"failed 7"},  # type: ignore[misc]
            f"{host.name} is closed",
            show=swarm.log,
        )
        eventually(
            lambda host=host: not run(*host.inside(sys.executable, "-c", bind), check=False).returncode,  # type: ignore[misc]
            f"{host.name}: it is free",
            show=swarm.log,
        )


def test_a_port_is_taken_from_nobody(swarm: Swarm6) -> None:
    """A program that listens on IPv6 alone keeps it on that node, and it is said on the task."""
    listen = "import socket, time; one = socket.create_server(('::1', 8080), family=socket.AF_INET6); "
    listen += "print('up', flush=True); time.sleep(999)"
    command = swarm.first.inside(sys.executable, "-c", listen)
    foreign = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    swarm.servers.append(foreign)
    assert foreign.stdout
    assert foreign.stdout.readline() == "up\n"
    create(swarm, "--constraint", "node.hostname==first", replicas=1)
    wait_running(swarm.first, "web", {"first": 1})
    (container,) = containers(swarm.first, "web")
    eventually(lambda: seen(swarm.client, six(swarm.second), 1) == {container: 1}, "others answer", show=swarm.log)
    shown = swarm.first.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "web").stdout
    assert "port 8080/tcp is in use on this node, and not published there" in shown
    foreign.kill()
    wait_served6(swarm, container)
