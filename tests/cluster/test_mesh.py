"""The routing mesh over two nodes and a client outside: who answers, whose address the task sees, what stays shut."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface
from pathlib import Path
from random import Random

import pytest

from shoal.network.mesh.mesher import Mesher
from shoal.network.mesh.state import Backend, Gateway, Here, Mesh, mac_of
from shoal.network.plumbing import Plumbing
from shoal.network.wanted import Protocol
from tests.harness.overlay_hosts import Load, OverlayHost, Servers, ask, ask_udp, overlay_hosts

pytestmark = pytest.mark.root

WEB, DNS = ("tcp", 8080), ("udp", 5353)
TASKS = {"a": 0, "b": 1}  # on which node
INGRESS = {"a": ip_address("10.0.0.11"), "b": ip_address("10.0.0.12")}
CLIENT = "10.98.0.3"


class Node:
    """A node: its bridge, the task on it, its mesh."""

    def __init__(self, host: OverlayHost, name: str) -> None:
        self.host, self.name = host, name
        self.subnet = IPv4Network(f"172.{17 + host.number}.0.0/16")
        self.address = self.subnet[5]
        self.gateway = str(self.subnet[1])
        self.own = ip_interface(f"10.0.0.{1 + host.number}/24")
        self.netns = host.folder / "sandboxes" / name
        self.bridge = f"shoal{host.tag}"
        self.plumbing = host.do(lambda: Plumbing(self.bridge, f"shoal_{host.tag}"))
        host.do(lambda: self.plumbing.make_bridge(self.subnet))
        host.do(lambda: self.plumbing.connect(self.netns, "ve01", self.address, self.subnet))
        self.mesher = host.do(lambda: Mesher(host.nftables, Random(host.number)))

    def close(self) -> None:
        """Remove all of it."""

        def undo() -> None:
            self.mesher.remove(self.host.tag)
            self.mesher.close()
            self.plumbing.remove()
            self.plumbing.close()

        self.host.do(undo)


class Site:
    """The nodes, and how the mesh is wanted on each."""

    def __init__(self, hosts: list[OverlayHost], servers: Servers) -> None:
        self.client = hosts[2]
        self.nodes = [Node(host, name) for host, name in zip(hosts, TASKS, strict=False)]
        for node in self.nodes:
            servers.add(node.host, node.netns, node.name, port=80)
            servers.add(node.host, node.netns, f"{node.name}-hidden", port=81)

    def mesh(self, node: Node, backends: str, leaving: str = "") -> Mesh:
        other = next(one for one in self.nodes if one is not node)
        published = {}
        for protocol, port in (WEB, DNS):
            places = [
                Backend(node.address, 80) if name == node.name else Backend(IPv4Address(INGRESS[name]), port)
                for name in backends
            ]
            published[_protocol(protocol), port] = frozenset(places)
        here = {
            Here(IPv4Address(INGRESS[node.name]), _protocol(protocol), port, node.address, 80)
            for protocol, port in (WEB, DNS)
            if node.name in backends + leaving
        }
        gateway = Gateway(other.own.ip, mac_of(other.own.ip))  # type: ignore[arg-type]
        addresses = [other.own.ip, *([INGRESS[other.name]] if other.name in backends + leaving else [])]
        return Mesh(
            tag=node.host.tag,
            vni=4096,
            vxlan_port=4789,
            local=node.host.address,
            mtu=1450,
            own=node.own,  # type: ignore[arg-type]
            bridge=node.bridge,
            own_subnets=frozenset({node.subnet}),
            published=published,
            here=frozenset(here),
            gateways=frozenset({gateway}),
            nodes=frozenset({other.host.address}),
            peers={IPv4Address(one): (mac_of(IPv4Address(one)), other.host.address) for one in addresses},
        )

    def apply(self, backends: str, leaving: str = "") -> None:
        for node in self.nodes:
            wanted = self.mesh(node, backends, leaving)
            node.host.do(lambda node=node, wanted=wanted: node.mesher.apply(wanted))  # type: ignore[misc]

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def _protocol(word: str) -> Protocol:
    return "tcp" if word == "tcp" else "udp"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Site]:
    with overlay_hosts(3, tmp_path_factory.mktemp("o")) as hosts:
        made = Site(hosts, servers)
        try:
            yield made
        finally:
            made.close()
            for node in made.nodes:
                assert "shoal_" not in node.host.inside(None, lambda node=node: node.host.nftables.run("list ruleset"))  # type: ignore[misc]
                assert "vxi" not in node.host.ip(Path(f"/run/netns/{node.host.name}"), "ip", "link")
                rules = node.host.ip(Path(f"/run/netns/{node.host.name}"), "ip", "rule").splitlines()
                assert len(rules) == 3


@pytest.fixture
def site(shared: Site, servers: Servers) -> Site:
    shared.apply("ab")
    servers.asked.clear()
    return shared


@pytest.mark.parametrize("backends", ["a", "b", "ab"])
def test_the_task_sees_the_clients_address_on_whatever_node_it_arrives(
    site: Site, servers: Servers, backends: str
) -> None:
    site.apply(backends)
    for node in site.nodes:
        for way, port in ((ask, 8080), (ask_udp, 5353)):
            servers.asked.clear()
            answers = Counter(way(site.client, None, str(node.host.address), port) for _ in range(8))
            assert answers == dict.fromkeys(backends, 8 // len(backends)), f"{node.name} {way.__name__}"
            assert {address for _, address in servers.asked} == {CLIENT}


def test_a_node_itself_reaches_every_task(site: Site, servers: Servers) -> None:
    for node in site.nodes:
        for address in ("127.0.0.1", str(node.host.address)):
            for way, port in ((ask, 8080), (ask_udp, 5353)):
                assert Counter(way(node.host, None, address, port) for _ in range(4)) == {"a": 2, "b": 2}


def test_a_task_reaches_every_task_by_its_own_node_itself_too(site: Site) -> None:
    """Known fault 32."""
    for node in site.nodes:
        for address in (node.gateway, str(node.host.address)):
            for way, port in ((ask, 8080), (ask_udp, 5353)):
                answers = Counter(way(node.host, node.netns, address, port) for _ in range(4))
                assert answers == {"a": 2, "b": 2}, f"{node.name} {address} {way.__name__}"


def test_a_node_reaches_published_ports_of_another(site: Site, servers: Servers) -> None:
    """Also where that leads to the asker's own task: by the other's address on ingress, or it would drop its own."""
    one, two = site.nodes
    for way, port in ((ask, 8080), (ask_udp, 5353)):
        servers.asked.clear()
        assert Counter(way(one.host, None, str(two.host.address), port) for _ in range(4)) == {"a": 2, "b": 2}
        assert set(servers.asked) == {("a", str(two.own.ip)), ("b", str(one.host.address))}


def test_a_service_can_have_dockers_way(site: Site, servers: Servers) -> None:
    """Backends without the client's address see the node that the connection came by, as those on Docker Engines must:
    these have no way back."""
    one = site.nodes[0]
    docker = replace(site.mesh(one, "ab"), without_source=frozenset({IPv4Address(INGRESS["b"])}))
    one.host.do(lambda: one.mesher.apply(docker))
    assert Counter(ask(site.client, None, str(one.host.address), 8080) for _ in range(4)) == {"a": 2, "b": 2}
    assert set(servers.asked) == {("a", CLIENT), ("b", str(one.own.ip))}


def test_a_node_without_a_task_answers_and_where_nobody_is_it_is_said(site: Site) -> None:
    """Known fault 25."""
    site.apply("b", leaving="a")
    assert ask(site.client, None, "10.98.0.1", 8080) == "b"
    site.apply("")
    with pytest.raises(ConnectionRefusedError):
        ask(site.client, None, "10.98.0.1", 8080)


def test_what_is_not_published_stays_shut(site: Site) -> None:
    """Known fault 33: from outside, from a node and from a task, on the nodes' and on ingress's addresses."""
    one, two = site.nodes
    askers = ((site.client, None), (one.host, None), (one.host, one.netns))
    for host, path in askers:
        for address, port in (("10.98.0.2", 80), ("10.98.0.2", 81), (str(INGRESS["b"]), 80), (str(two.address), 81)):
            with pytest.raises(OSError, match=r"refused|unreachable|No route|timed out"):
                ask(host, path, address, port, timeout=0.4)


def test_a_users_drop_rule_holds(site: Site) -> None:
    """Known fault 31: also after services come and go."""
    one = site.nodes[0].host
    run = one.nftables.run
    one.do(lambda: run("add table ip mine; add chain ip mine pre { type filter hook prerouting priority mangle; }"))
    one.do(lambda: run(f"add rule ip mine pre ip saddr {CLIENT} tcp dport 8080 drop"))
    try:
        for backends in ("ab", "a", "b"):
            site.apply(backends)
            with pytest.raises(TimeoutError):
                ask(site.client, None, "10.98.0.1", 8080, timeout=0.3)
        assert ask(site.client, None, "10.98.0.2", 8080) == "b"
    finally:
        one.do(lambda: run("delete table ip mine"))


def test_rules_that_were_flushed_come_back_and_no_others(site: Site) -> None:
    """Known fault 29."""
    one = site.nodes[0]
    before = one.host.do(lambda: one.host.nftables.run(f"list table ip shoal_{one.host.tag}_mesh"))
    one.host.do(lambda: one.host.nftables.run("flush ruleset"))
    one.host.do(lambda: one.plumbing.find_bridge(one.subnet))
    one.host.do(lambda: one.mesher.apply(site.mesh(one, "ab")))
    after = one.host.do(lambda: one.host.nftables.run(f"list table ip shoal_{one.host.tag}_mesh"))
    assert sorted(after.split()) == sorted(before.split()) or len(after.splitlines()) == len(before.splitlines())
    assert Counter(ask(site.client, None, "10.98.0.1", 8080) for _ in range(4)) == {"a": 2, "b": 2}


def test_forged_records_end_no_mesh(site: Site) -> None:
    """The kernel refuses what one of them says. The rest stands, and it is said."""
    one, _ = site.nodes
    wanted = site.mesh(one, "ab")
    forged = {IPv4Address("10.0.0.201"): ("00:00:00:00:00:00", site.nodes[1].host.address)}
    wanted = replace(wanted, peers={**wanted.peers, **forged})
    one.host.do(lambda: one.mesher.apply(wanted))
    assert one.mesher.refused == "1 entries of other nodes are refused: 00:00:00:00:00:00: Operation not supported"
    one.host.do(lambda: one.mesher.apply(site.mesh(one, "ab")))
    assert one.mesher.refused == ""
    assert {ask(site.client, None, str(one.host.address), 8080) for _ in range(4)} == {"a", "b"}


def test_planned_changes_fail_no_connection(site: Site) -> None:
    """Tasks come and go under load from outside: a drained one keeps what it has."""
    turns = 0
    with Load(Path(f"/run/netns/{site.client.name}"), "10.98.0.1", 8080) as load:
        for backends, leaving in (("ab", ""), ("a", "b"), ("ab", ""), ("b", "a")) * 6:
            site.apply(backends, leaving)
            turns += 1
    assert load.errors == []
    assert set(load.answers) == {"a", "b"}
    assert (turns, sum(load.answers.values()) > 20) == (24, True)


def test_datagrams_of_a_long_lived_flow_reach_a_living_task(site: Site) -> None:
    """Known fault 22: by a published port, whether the task that ended was here or elsewhere."""
    for entry in site.nodes:
        for gone, stays in (("a", "b"), ("b", "a")):
            site.apply("ab")
            with site.client.inside(None, lambda: socket.socket(type=socket.SOCK_DGRAM)) as flow:
                flow.settimeout(5)
                site.apply(gone)
                flow.connect((str(entry.host.address), 5353))
                flow.send(b"?")
                first = flow.recv(64).decode().split()[0]
                site.apply(stays, leaving=gone)
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == first == gone  # what it has it keeps
                site.apply(stays)
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == stays, f"{entry.name} {gone}"


def test_datagrams_reach_a_living_task_also_where_the_former_ended_while_nobody_looked(site: Site) -> None:
    """Known fault 22's brother: the process that wrote the rules was killed, and its next one finds another mesh."""
    for entry in site.nodes:
        for gone, stays in (("a", "b"), ("b", "a")):
            site.apply(gone)
            with site.client.inside(None, lambda: socket.socket(type=socket.SOCK_DGRAM)) as flow:
                flow.settimeout(5)
                flow.connect((str(entry.host.address), 5353))
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == gone
                for node in site.nodes:
                    node.host.do(node.mesher.close)
                    node.mesher = node.host.do(lambda node=node: Mesher(node.host.nftables, Random(1)))  # type: ignore[misc]
                site.apply(stays)
                flow.send(b"?")
                assert flow.recv(64).decode().split()[0] == stays, f"{entry.name} {gone}"


def test_datagrams_sent_before_the_port_was_published(site: Site) -> None:
    """Known fault 23: and after it was withdrawn. Flows to other ports go on."""
    one = site.nodes[0]
    site.apply("a")
    published = site.mesh(one, "a")
    more = {**published.published, ("udp", 5454): frozenset({Backend(one.address, 80)})}
    with (
        site.client.inside(None, lambda: socket.socket(type=socket.SOCK_DGRAM)) as flow,
        site.client.inside(None, lambda: socket.socket(type=socket.SOCK_DGRAM)) as other,
    ):
        flow.settimeout(0.5)
        other.settimeout(5)
        for each, port in ((flow, 5454), (other, 5353)):
            each.bind(("", 0))
            each.sendto(b"?", ("10.98.0.1", port))
        assert other.recv(64).startswith(b"a")
        one.host.do(lambda: one.mesher.apply(replace(published, published=more)))
        flow.sendto(b"?", ("10.98.0.1", 5454))
        assert flow.recv(64).startswith(b"a")
        one.host.do(lambda: one.mesher.apply(published))
        flow.sendto(b"?", ("10.98.0.1", 5454))
        with pytest.raises(TimeoutError):
            flow.recv(64)
        other.sendto(b"?", ("10.98.0.1", 5353))
        assert other.recv(64).startswith(b"a")


def test_a_mesher_that_starts_goes_on_from_what_is_there(site: Site) -> None:
    one = site.nodes[0]
    more = site.mesh(one, "ab")
    more = replace(more, published={**more.published, ("tcp", 9090): frozenset({Backend(one.address, 81)})})
    one.host.do(lambda: one.mesher.apply(more))
    assert ask(site.client, None, "10.98.0.1", 9090) == "a-hidden"
    one.host.do(one.mesher.close)
    one.mesher = one.host.do(lambda: Mesher(one.host.nftables, Random(5)))
    one.host.do(lambda: one.mesher.apply(site.mesh(one, "ab")))
    assert "9090" not in one.host.do(lambda: one.host.nftables.run(f"list table ip shoal_{one.host.tag}_mesh"))
    with pytest.raises(ConnectionRefusedError):
        ask(site.client, None, "10.98.0.1", 9090)
    assert Counter(ask(site.client, None, "10.98.0.1", 8080) for _ in range(4)) == {"a": 2, "b": 2}
