"""Virtual IPs in containers' namespaces, over two hosts: which task answers, and what happens to connections."""

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from shoal.errors import ShoalError
from shoal.network.balancing import flows
from shoal.network.balancing.balancer import Balancer
from shoal.network.balancing.rules import Virtual
from shoal.network.kernel.watched import MOST_OBJECTS
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address, attributes
from tests.cluster.test_overlays import SIX, apply, state
from tests.harness.overlay_hosts import Load, OverlayHost, Servers, ask, ask_udp, open_tcp, overlay_hosts

pytestmark = pytest.mark.root

VIP, EMPTY, VIP6 = "10.0.1.100", "10.0.1.101", "fd00:6::100"
# Three tasks of a service on two hosts, and a client on the first.
TASKS = {"10.0.1.5": 0, "10.0.1.6": 1, "10.0.1.7": 1}
CLIENT = "10.0.1.9"


class Site:
    """Two hosts, their containers with servers in them, and each host's balancer."""

    def __init__(self, hosts: list[OverlayHost], servers: Servers) -> None:
        self.hosts, self.servers = hosts, servers
        self.at = {address: hosts[number] for address, number in {**TASKS, CLIENT: 0}.items()}
        self.paths = {address: host.sandbox(address) for address, host in self.at.items()}
        for host in hosts:
            here = {f"{address}/24": self.paths[address] for address in self.paths if self.at[address] is host}
            there = {f"{address}/24": self.at[address] for address in self.paths if self.at[address] is not host}
            assert apply(host, state(host, here, there)) == []
        for address in TASKS:
            servers.add(self.at[address], self.paths[address], address)
        self.start_again()

    def start_again(self) -> None:
        """Start again with balancers that remember nothing."""
        self.balancers = {host: Balancer(host.nftables, Random(host.number)) for host in self.hosts}

    def virtual(self, *backends: str, leaving: tuple[str, ...] = ()) -> None:
        """Set in every container which tasks are behind the virtual IP."""
        for address in self.paths:
            self.virtual_in(address, *backends, leaving=leaving)

    def virtual_in(self, address: str, *backends: str, leaving: tuple[str, ...] = ()) -> None:
        wanted = [Virtual(ip_address(VIP), _set(backends), _set(leaving)), Virtual(ip_address(EMPTY))]
        host = self.at[address]
        host.do(lambda: self.balancers[host].apply(self.paths[address], {one.address: one for one in wanted}))


def _send_on(connection: socket.socket) -> None:
    for _ in range(100):
        connection.sendall(b"gone")
        time.sleep(0.02)


def _set(addresses: tuple[str, ...]) -> frozenset[Address]:
    return frozenset(ip_address(address) for address in addresses)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OverlayHost]]:
    with overlay_hosts(2, tmp_path_factory.mktemp("o")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(hosts: list[OverlayHost]) -> Iterator[Site]:
    with Servers() as servers:
        yield Site(hosts, servers)


@pytest.fixture
def site(shared: Site) -> Site:
    shared.virtual(*TASKS)
    return shared


def test_each_task_reaches_every_task_evenly_itself_too(site: Site) -> None:
    """Known fault 32."""
    for address, path in site.paths.items():
        for way in (ask, ask_udp):
            answers = Counter(way(site.at[address], path, VIP) for _ in range(30))
            assert answers == dict.fromkeys(TASKS, 10), f"{address} {way.__name__}"


def test_where_nobody_is_it_is_said_at_once(site: Site) -> None:
    """Also if no virtual IP of a container has any task."""
    for backends in (tuple(TASKS), ()):
        site.start_again()
        site.virtual(*backends)
        before = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            ask(site.at[CLIENT], site.paths[CLIENT], EMPTY)
        with pytest.raises((ConnectionRefusedError, PermissionError)):  # the latter is what a filter's refusal is here
            ask_udp(site.at[CLIENT], site.paths[CLIENT], EMPTY)
        assert time.monotonic() - before < 5  # which is how long a question waits


def test_a_virtual_ip_of_ipv6(site: Site) -> None:
    one, two = site.hosts
    a, b, c = (one.sandbox("a6"), two.sandbox("b6"), two.sandbox("c6"))
    v4 = {
        host: state(
            host,
            {f"{at}/24": site.paths[at] for at in site.paths if site.at[at] is host},
            {f"{at}/24": site.at[at] for at in site.paths if site.at[at] is not host},
        )
        for host in site.hosts
    }
    there = {"fd00:6::6/64": two, "fd00:6::7/64": two}
    assert apply(one, v4[one], state(one, {"fd00:6::5/64": a}, there, SIX)) == []
    here = {"fd00:6::6/64": b, "fd00:6::7/64": c}
    assert apply(two, v4[two], state(two, here, {"fd00:6::5/64": one}, SIX)) == []
    site.servers.add(two, b, "b6", family=socket.AF_INET6)
    site.servers.add(two, c, "c6", family=socket.AF_INET6)
    six = ip_address(VIP6)
    wanted = {six: Virtual(six, frozenset({ip_address("fd00:6::6"), ip_address("fd00:6::7")}))}
    one.do(lambda: site.balancers[one].apply(a, wanted))
    assert Counter(ask(one, a, VIP6) for _ in range(10)) == {"b6": 5, "c6": 5}
    site.servers.drop("b6")
    site.servers.drop("c6")
    for host in site.hosts:
        assert apply(host, v4[host]) == []


def test_planned_changes_fail_no_connection(site: Site) -> None:
    """Backends come and go under load, hundreds of times. No connection fails, and none goes to a backend that has
    left.
    """
    one, two, three = TASKS
    choices = [(one, two, three), (one, two), (two, three), (one, three), (one,), (two,)]
    changes = 0
    with Load(site.paths[CLIENT], VIP) as load:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            chosen = choices[changes % len(choices)]
            left = tuple(address for address in TASKS if address not in chosen)
            site.virtual_in(CLIENT, *chosen, leaving=left)
            changes += 1
    print(f"{changes} changes under {sum(load.answers.values())} connections")  # noqa: T201 - for who looks
    assert load.errors == []
    assert set(load.answers) == set(TASKS)
    assert changes > 50
    assert sum(load.answers.values()) > 200
    site.virtual_in(CLIENT, one, leaving=(two, three))
    assert {ask(site.at[CLIENT], site.paths[CLIENT], VIP) for _ in range(20)} == {one}


def test_a_connection_to_a_task_on_its_way_out_goes_on(site: Site) -> None:
    with open_tcp(site.at[CLIENT], site.paths[CLIENT]) as kept:
        kept.connect((VIP, 80))
        leaving = kept.recv(64).decode()
        rest = [address for address in TASKS if address != leaving]
        site.virtual(*rest, leaving=(leaving,))
        kept.sendall(b"still")
        assert kept.recv(5) == b"still"
        assert leaving not in {ask(site.at[CLIENT], site.paths[CLIENT], VIP) for _ in range(9)}
        site.virtual(*rest)  # now it has ended
        with pytest.raises(ConnectionError):
            _send_on(kept)


def test_datagrams_of_a_long_lived_flow_reach_a_living_task(site: Site) -> None:
    """Known fault 22."""
    with site.hosts[0].inside(site.paths[CLIENT], lambda: socket.socket(type=socket.SOCK_DGRAM)) as flow:
        flow.settimeout(5)
        flow.connect((VIP, 80))
        flow.send(b"?")
        first = flow.recv(64).decode().split()[0]
        site.virtual(*(address for address in TASKS if address != first))
        flow.send(b"?")
        assert flow.recv(64).decode().split()[0] not in ("", first)


def test_datagrams_sent_before_the_virtual_ip_was_there(site: Site) -> None:
    """Known fault 23: the kernel's record of that flow would keep the rules from being used."""
    late = Virtual(ip_address("10.0.1.120"), _set(tuple(TASKS)))
    host, path = site.at[CLIENT], site.paths[CLIENT]
    with host.inside(path, lambda: socket.socket(type=socket.SOCK_DGRAM)) as flow:
        flow.settimeout(0.2)
        flow.connect(("10.0.1.120", 80))
        flow.send(b"?")
        host.do(lambda: site.balancers[host].apply(path, {late.address: late}))
        answer = b""
        end = time.monotonic() + 5
        while not answer and time.monotonic() < end:
            try:
                flow.send(b"?")
                answer = flow.recv(64)
            except OSError:
                continue  # an error that the kernel kept for the first datagram
    assert answer.decode().split()[0] in TASKS


def test_a_balancer_that_starts_goes_on_from_what_is_there(site: Site) -> None:
    client = site.hosts[0], site.paths[CLIENT]
    one, two = (client[0].inside(client[1], lambda: socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2))
    with open_tcp(*client) as kept, one, two:
        kept.connect((VIP, 80))
        answering = {kept: kept.recv(64).decode()}
        for flow in (one, two):
            flow.settimeout(5)
            flow.connect((VIP, 80))
            flow.send(b"?")
            answering[flow] = flow.recv(64).decode().split()[0]
        # Two flows of UDP go to tasks in turn, so one of them has another task than the connection.
        flow = one if answering[one] != answering[kept] else two
        site.start_again()
        with Load(client[1], VIP) as load:
            site.virtual(*(address for address in TASKS if address != answering[flow]))
        assert load.errors == []
        kept.sendall(b"still")
        assert kept.recv(5) == b"still"
        flow.send(b"?")
        assert flow.recv(64).decode().split()[0] != answering[flow]
    site.start_again()
    site.virtual()
    with pytest.raises(ConnectionRefusedError):
        ask(*client, VIP)


def test_connections_that_idle_have_the_kernels_own_time(site: Site) -> None:
    """Known fault 21: five days for a TCP connection, unless the host says otherwise."""
    host, path = site.at[CLIENT], site.paths[CLIENT]
    with open_tcp(host, path) as kept:
        kept.connect((VIP, 80))
        kept.recv(64)
        with host.inside(path, lambda: NetlinkSocket(netfilter=True)) as conntrack:
            replies = conntrack.run(flows.list_all(ip_address(VIP)))
        left = [struct.unpack(">I", attributes(reply.body[4:])[7])[0] for reply in replies]
        own = int(host.inside(path, Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established").read_text))
        assert max(left) > own - 60
        assert "timeout" not in host.inside(path, lambda: host.nftables.run("list ruleset"))


SPOILT = {
    "flushed": "flush ruleset",
    "another chain of that name": """
        delete table inet shoal_vips
        add table inet shoal_vips
        add chain inet shoal_vips output { type filter hook output priority 0; policy drop; }""",
    "another map of that name": """
        delete table inet shoal_vips
        add table inet shoal_vips
        add map inet shoal_vips vips4 { type inet_service : verdict; }""",
    "led elsewhere": f"""
        flush map inet shoal_vips vips4
        add element inet shoal_vips vips4 {{ {VIP} : drop, 10.0.1.6 : drop }}
        add rule inet shoal_vips output drop""",
}


def test_rules_that_somebody_else_changes_in_a_container_are_seen_and_written_again(site: Site, tmp_path: Path) -> None:
    site.virtual(*TASKS)
    host, path = site.at[CLIENT], site.paths[CLIENT]

    def write_again() -> None:
        with path.open("rb") as file:
            host.nftables.accept(file.fileno())
        site.balancers[host].write_again(path)

    for how, text in SPOILT.items():
        (tmp_path / "rules").write_text(text)
        assert host.do(lambda: host.nftables.foreign([path])) == [], how
        host.ip(path, "nft", "-f", str(tmp_path / "rules"))
        assert host.do(lambda: host.nftables.foreign([path])) == [path], how
        host.do(write_again)
        assert Counter(ask(host, path, VIP) for _ in range(6)) == dict.fromkeys(TASKS, 2), how
        assert ask(host, path, "10.0.1.6") == "10.0.1.6", how


def test_a_container_with_too_many_rules_of_its_own_hurts_itself_alone(site: Site, tmp_path: Path) -> None:
    """libnftables lists all chains before it changes one: they are counted, and then nothing is written there."""
    site.virtual(*TASKS)
    host, path = site.at[CLIENT], site.paths[CLIENT]
    chains = "".join(f"add chain ip own c{number}\n" for number in range(MOST_OBJECTS))
    (tmp_path / "rules").write_text(f"add table ip own\n{chains}")
    host.ip(path, "nft", "-f", str(tmp_path / "rules"))
    with pytest.raises(ShoalError, match="chains and sets of others"):
        site.virtual_in(CLIENT, *list(TASKS)[:1])
    host.ip(path, "nft", "delete", "table", "ip", "own")
    site.virtual_in(CLIENT, *list(TASKS)[:1])
    assert {ask(host, path, VIP) for _ in range(3)} == set(list(TASKS)[:1])
