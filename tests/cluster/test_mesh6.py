"""The routing mesh over IPv6, over two nodes and a client outside: who answers, what changes of tasks cost."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.network.mesh.mesher6 import Mesher6
from shoal.network.mesh.state import Mesh
from shoal.network.translation.places import place
from tests.cluster.test_mesh import INGRESS, Node, Site
from tests.harness.hosts import run
from tests.harness.overlay_hosts import Load, OverlayHost, Servers, ask, ask_udp, overlay_hosts

pytestmark = pytest.mark.root

WAYS = ((ask, 8080), (ask_udp, 5353))


class Load6(Load):
    """The same over IPv6."""

    def __init__(self, path: Path, address: str, port: int = 80) -> None:
        super().__init__(path, address, port)
        self._command = [word.replace("socket.socket()", "socket.socket(socket.AF_INET6)") for word in self._command]


class Site6(Site):
    """The same nodes, which have IPv6 outside. Their tasks listen on IPv4 alone."""

    def __init__(self, hosts: list[OverlayHost], servers: Servers) -> None:
        super().__init__(hosts, servers)
        for host in hosts:
            run("ip", "-n", host.name, "address", "add", f"{six(host)}/64", "dev", "eth0", "nodad")
        self.six = {node.name: node.host.do(lambda node=node: Mesher6(node.host.nftables.run)) for node in self.nodes}  # type: ignore[misc]

    def mesh(self, node: Node, backends: str, leaving: str = "") -> Mesh:
        return replace(super().mesh(node, backends, leaving), translation=place(node.host.tag, "mesh", node.subnet))

    def apply(self, backends: str, leaving: str = "") -> None:
        super().apply(backends, leaving)
        for node in self.nodes:
            wanted = self.mesh(node, backends, leaving)
            node.host.do(lambda node=node, wanted=wanted: self.six[node.name].apply(wanted))  # type: ignore[misc]

    def close(self) -> None:
        for node in self.nodes:
            node.host.do(lambda node=node: self.six[node.name].remove(node.host.tag))  # type: ignore[misc]
        super().close()


def six(host: OverlayHost) -> str:
    return f"2001:db8::{host.number}"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Site6]:
    with overlay_hosts(3, tmp_path_factory.mktemp("o")) as hosts:
        made = Site6(hosts, servers)
        try:
            yield made
        finally:
            made.close()
            for node in made.nodes:
                shown = node.host.inside(None, lambda node=node: node.host.nftables.run("list ruleset"))  # type: ignore[misc]
                assert "shoal_" not in shown
                assert "s64" not in run("ip", "-n", node.host.name, "link").stdout
                assert "s64" not in run("ip", "-n", node.host.name, "-6", "route", "show", "table", "all").stdout


@pytest.fixture
def site(shared: Site6, servers: Servers) -> Site6:
    shared.apply("ab")
    servers.asked.clear()
    return shared


@pytest.mark.parametrize("backends", ["a", "b", "ab"])
def test_every_node_answers_and_the_task_sees_a_node(site: Site6, servers: Servers, backends: str) -> None:
    site.apply(backends)
    for node in site.nodes:
        for way, port in WAYS:
            servers.asked.clear()
            answers = Counter(way(site.client, None, six(node.host), port) for _ in range(8))
            assert answers == dict.fromkeys(backends, 8 // len(backends)), f"{node.name} {way.__name__}"
            # One on this node sees the bridge, one elsewhere the node's address on ingress.
            assert set(servers.asked) == {
                (name, node.gateway if name == node.name else str(node.own.ip)) for name in backends
            }


def test_a_node_itself_reaches_every_task(site: Site6) -> None:
    for node in site.nodes:
        for address in ("::1", *(six(other.host) for other in site.nodes)):
            for way, port in WAYS:
                answers = Counter(way(node.host, None, address, port) for _ in range(4))
                assert answers == {"a": 2, "b": 2}, f"{node.name} {address} {way.__name__}"


def test_a_service_can_have_dockers_way(site: Site6) -> None:
    """As tasks on Docker Engines have it: they are reached all the same."""
    one = site.nodes[0]
    docker = replace(site.mesh(one, "ab"), without_source=frozenset(INGRESS.values()))  # type: ignore[arg-type]
    one.host.do(lambda: one.mesher.apply(docker))
    assert Counter(ask(site.client, None, six(one.host), 8080) for _ in range(4)) == {"a": 2, "b": 2}


def test_where_nobody_is_it_is_said(site: Site6) -> None:
    site.apply("b", leaving="a")
    assert ask(site.client, None, six(site.nodes[0].host), 8080) == "b"
    site.apply("")
    with pytest.raises(ConnectionRefusedError):
        ask(site.client, None, six(site.nodes[0].host), 8080)


def test_planned_changes_fail_no_connection(site: Site6) -> None:
    with Load6(Path(f"/run/netns/{site.client.name}"), six(site.nodes[0].host), 8080) as load:
        for backends, leaving in (("ab", ""), ("a", "b"), ("ab", ""), ("b", "a")) * 6:
            site.apply(backends, leaving)
    assert load.errors == []
    assert set(load.answers) == {"a", "b"}


def test_a_connection_outlives_the_process_and_datagrams_find_a_living_task(site: Site6) -> None:
    for entry in site.nodes:
        for gone, stays in (("a", "b"), ("b", "a")):
            site.apply(gone)
            with (
                site.client.inside(None, lambda: socket.socket(socket.AF_INET6)) as held,
                site.client.inside(None, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as flow,
            ):
                for one, port in ((held, 8080), (flow, 5353)):
                    one.settimeout(5)
                    one.connect((six(entry.host), port))
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == gone
                assert held.recv(64).decode() == gone
                for node in site.nodes:  # as after kill -9: nothing is remembered
                    site.six[node.name] = node.host.do(lambda node=node: Mesher6(node.host.nftables.run))  # type: ignore[misc]
                site.apply(stays, leaving=gone)
                held.send(b"still there?")
                assert held.recv(64) == b"still there?"
                site.apply(stays)
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == stays, f"{entry.name} {gone}"
