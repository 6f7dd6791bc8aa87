"""Ports that nodes publish themselves (mode=host), over IPv6: the bridge's own network in namespaces with addresses of
both kinds. Who reaches them, from where nobody gets in, and what becomes of a host that learns its routes."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.host import linux
from shoal.network.bridge import BridgeNetwork
from shoal.network.host_ports.direct import address6
from shoal.network.translation.places import Place, bridge_prefix, place
from shoal.network.types import HostPort, Sandbox
from shoal.network.wanted import Protocol
from shoal.paths import Paths
from tests.harness.hosts import eventually, run

pytestmark = pytest.mark.root

CLONE_NEWNET = 0x40000000
HOST, BESIDE = "2001:db8::1", "2001:db8::2"
# What is in a container, and listens on IPv4 alone, answers with what it sees: a client's address.
SERVE = """
import socket, sys, threading
kind, port, text = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
one = socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET, kind, int(sys.argv[4]))
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind((text, port))
if kind == socket.SOCK_STREAM:
    one.listen()
print("up", flush=True)
while True:
    if kind == socket.SOCK_STREAM:
        peer, address = one.accept()
        size = int(peer.recv(99))
        peer.sendall(address[0].encode().ljust(size))
        peer.close()
    else:
        data, address = one.recvfrom(65000)
        one.sendto(address[0].encode().ljust(len(data)), address)
"""
ASK = """
import socket, sys
kind, host, port, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[5])
one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind, int(sys.argv[4]))
one.settimeout(float(sys.argv[6]))
one.connect((host, port))
one.sendall(str(size).encode() if kind == socket.SOCK_STREAM else b"x" * size)
text = b""
while part := one.recv(65000):
    text += part
    if kind != socket.SOCK_STREAM:
        break
print(len(text), text.decode().strip())
"""
# Says to everybody that here is a router for half an hour.
ADVERTISE = """
import socket
one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
one.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8), ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
"""
NUMBERS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}


def name(number: int) -> str:
    return f"{number:012x}" + "0" * 52


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    yield paths
    for file in tmp_path.rglob("netns/*"):
        subprocess.run(["umount", "-l", file], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def host() -> Iterator[str]:
    """Yield the namespace of a host, which this thread is in; beside it is another machine."""
    one, two = f"shoal-h{os.getpid()}", beside(f"shoal-h{os.getpid()}")
    for namespace in (one, two):
        subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    run("ip", "-n", one, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", two)
    for namespace, four, six in ((one, "10.98.0.1", HOST), (two, "10.98.0.2", BESIDE)):
        run("ip", "-n", namespace, "address", "add", f"{four}/24", "dev", "eth0")
        run("ip", "-n", namespace, "address", "add", f"{six}/64", "dev", "eth0", "nodad")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{one}", "rb") as there:
        linux.setns(there.fileno(), CLONE_NEWNET)
        try:
            yield one
        finally:
            linux.setns(home.fileno(), CLONE_NEWNET)
    for namespace in (one, two):
        run("ip", "netns", "del", namespace)


def beside(host: str) -> str:
    return host.replace("-h", "-o")


def inside(netns: str, *command: str, check: bool = True) -> str:
    path = netns if netns.startswith("/") else f"/run/netns/{netns}"
    return run("nsenter", f"--net={path}", *command, check=check).stdout.strip()


@contextmanager
def server(netns: str, protocol: str, port: int, address: str = "0.0.0.0") -> Iterator[None]:
    kind, number = NUMBERS[protocol]
    path = netns if netns.startswith("/") else f"/run/netns/{netns}"
    arguments = (str(int(kind)), str(port), address, str(number))
    command = ["nsenter", f"--net={path}", sys.executable, "-c", SERVE, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"up\n"
            yield
        finally:
            process.kill()


def seen(netns: str, address: str, port: int, protocol: str = "tcp", size: int = 99, *, patience: float = 3.0) -> str:
    """Return as whom a server sees who asks from there; empty where nobody answers."""
    kind, number = NUMBERS[protocol]
    arguments = (str(int(kind)), address, str(port), str(number), str(size), str(patience))
    text = inside(netns, sys.executable, "-c", ASK, *arguments, check=False)
    length, _, who = text.partition(" ")
    return who if length == str(size) else ""


@asynccontextmanager
async def published(
    paths: Paths, *ports: HostPort, tag: str = "t1", number: int = 1
) -> AsyncIterator[tuple[BridgeNetwork, Sandbox, Place]]:
    async with BridgeNetwork(paths, tag) as network:
        await network.adopt({})
        sandbox = await network.connect(name(number), "bridge")
        with await network.publish(name(number), "web.1", ports):
            yield network, sandbox, placed(network, tag)
        await network.disconnect(name(number))


def placed(network: BridgeNetwork, tag: str) -> Place:
    found = place(tag, "ports", IPv4Network(network.as_wanted().subnets[0]))
    assert found is not None
    return found


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 132).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
async def test_a_port_answers_on_addresses_of_both_kinds(host: str, paths: Paths, protocol: str) -> None:
    if protocol == "sctp" and not has_sctp():
        pytest.skip("this kernel has no SCTP")
    async with published(paths, HostPort(protocol, 80, 8080)) as (_, sandbox, _):  # type: ignore[arg-type]
        with server(sandbox.netns, protocol, 80):
            gateway = sandbox.first.gateway
            for asker, address in ((beside(host), HOST), (host, HOST), (host, "::1")):
                assert seen(asker, address, 8080, protocol) == gateway, f"{asker} {address}"
            assert seen(beside(host), "10.98.0.1", 8080, protocol) == "10.98.0.2"
            # Neither cut off nor damaged on a way of 1,500 bytes.
            for size in (1, 1400, *((1_000_000,) if protocol == "tcp" else ())):
                assert seen(beside(host), HOST, 8080, protocol, max(size, 20)) == gateway, size
            assert not seen(beside(host), HOST, 8081, protocol, patience=0.5)


async def test_a_way_of_less_than_1500_bytes_is_no_hindrance(host: str, paths: Paths) -> None:
    async with published(paths, HostPort("tcp", 80, 8080)) as (_, sandbox, _):
        run("ip", "-n", beside(host), "link", "set", "eth0", "mtu", "1280")
        with server(sandbox.netns, "tcp", 80):
            assert seen(beside(host), HOST, 8080, size=300_000) == sandbox.first.gateway


async def test_who_listens_nowhere_refuses(host: str, paths: Paths) -> None:
    async with published(paths, HostPort("tcp", 80, 8080)):
        script = f"import socket; socket.create_connection(('{HOST}', 8080), 5)"
        done = run("nsenter", f"--net=/run/netns/{beside(host)}", sys.executable, "-c", script, check=False)
        assert "ConnectionRefusedError" in done.stderr


async def test_nothing_else_gets_in(host: str, paths: Paths) -> None:
    """Neither to ::1 of this host, nor to the addresses that lead to containers, nor in the name of any of these."""
    other = beside(host)
    async with published(paths, HostPort("tcp", 80, 8080)) as (_, sandbox, place):
        for change in (
            "addr del ::1/128 dev lo",
            f"-6 route add ::1/128 via {HOST} dev eth0",
            f"-6 route add {place.prefix} via {HOST} dev eth0",
        ):
            run("ip", "-n", other, *change.split())
        with server(sandbox.netns, "tcp", 80), server(host, "tcp", 8082, "::1"), server(host, "tcp", 8083, "::"):
            assert seen(host, "::1", 8082) == "::1"
            assert seen(other, HOST, 8083) == BESIDE
            for address, port in (
                ("::1", 8080),
                ("::1", 8082),
                (str(place.host6), 8080),
                (str(place.host6), 80),
                (str(place.client6), 8080),
            ):
                assert not seen(other, address, port, patience=0.5), f"{address} {port}"
            for source in (place.client6, place.host6):
                run("ip", "-n", other, "address", "add", f"{source}/128", "dev", "lo", "nodad")
                run("ip", "-n", host, "-6", "route", "add", str(place.client6), "via", BESIDE, check=False)
                script = "import socket; one = socket.socket(socket.AF_INET6); one.settimeout(0.5); "
                script += f"one.bind(('{source}', 0)); one.connect(('{HOST}', 8083))"
                done = run("nsenter", f"--net=/run/netns/{other}", sys.executable, "-c", script, check=False)
                assert "timed out" in done.stderr, source


async def test_containers_get_no_further_than_to_published_ports(host: str, paths: Paths, tmp_path: Path) -> None:
    """Nor do those of another daemon: none has IPv6 to begin with, and gives itself some in vain."""
    others = Paths(tmp_path / "data2", tmp_path / "exec2")
    async with (
        published(paths, HostPort("tcp", 80, 8080)) as (_, one, place),
        published(others, HostPort("tcp", 80, 8081), tag="t2", number=2) as (_, two, second),
    ):
        with server(one.netns, "tcp", 80), server(two.netns, "tcp", 80), server(host, "tcp", 8083, "::"):
            assert seen(beside(host), HOST, 8080) == one.first.gateway
            assert seen(beside(host), HOST, 8081) == two.first.gateway
            assert seen(host, "::1", 8081) == two.first.gateway
            for container, bridge in ((one, "shoalt1"), (two, "shoalt2")):
                inside(container.netns, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
                mac = inside(host, "ip", "-o", "link", "show", bridge).partition("link/ether ")[2].split()[0]
                for change in ("address add fd00::2/64 dev eth0 nodad", "-6 route add default via fd00::1 dev eth0"):
                    inside(container.netns, "ip", *change.split())
                inside(container.netns, "ip", "-6", "neigh", "add", "fd00::1", "lladdr", mac, "dev", "eth0")
                for address, port in (
                    (HOST, 8083),
                    (HOST, 8080),
                    (str(place.host6), 8080),
                    (str(second.host6), 8081),
                    (BESIDE, 8083),
                ):
                    assert not seen(container.netns, address, port, patience=0.5), f"{bridge} {address} {port}"
                assert seen(container.netns, "10.98.0.1", 8080 if container is two else 8081)


async def look(network: BridgeNetwork) -> None:
    """What is done every few seconds."""
    await network._run(network._publisher.look)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_who_listens_on_ipv6_sees_the_clients_own_address(host: str, paths: Paths, protocol: Protocol) -> None:
    async with published(paths, HostPort(protocol, 80, 8080)) as (network, sandbox, _):
        for _ in range(2):
            with server(sandbox.netns, protocol, 80, "::"):
                await look(network)
                assert seen(beside(host), HOST, 8080, protocol) == BESIDE
                # These would find no way back to who asked.
                for asker, address in ((host, "::1"), (host, HOST), (sandbox.netns, HOST)):
                    assert seen(asker, address, 8080, protocol, patience=9).endswith(sandbox.first.gateway), asker
                assert seen(beside(host), "10.98.0.1", 8080, protocol).endswith("10.98.0.2")
            with server(sandbox.netns, protocol, 80):
                await look(network)
                assert seen(beside(host), HOST, 8080, protocol) == sandbox.first.gateway
        with server(sandbox.netns, protocol, 80, "::"):
            await look(network)
            run("ip", "-n", beside(host), "link", "set", "eth0", "mtu", "1280")
            for size in (1200, *((300_000,) if protocol == "tcp" else ())):
                assert seen(beside(host), HOST, 8080, protocol, size) == BESIDE


async def test_a_container_with_ipv6_gets_no_further_than_to_published_ports(
    host: str, paths: Paths, tmp_path: Path
) -> None:
    """Neither to this host, nor out of it, nor to containers of other daemons; and nobody to it."""
    others = Paths(tmp_path / "data2", tmp_path / "exec2")
    async with (
        published(paths, HostPort("tcp", 80, 8080)) as (network, one, _),
        published(others, HostPort("tcp", 80, 8081), tag="t2", number=2) as (second, two, _),
    ):
        with (
            server(one.netns, "tcp", 80, "::"),
            server(two.netns, "tcp", 80, "::"),
            server(host, "tcp", 8083, "::"),
            server(beside(host), "tcp", 8083, "::"),
            server(host, "tcp", 8084, "::1"),
        ):
            await look(network)
            await look(second)
            assert seen(beside(host), HOST, 8080) == seen(beside(host), HOST, 8081) == BESIDE
            for container, other, tag, foreign in ((one, two, "t1", "t2"), (two, one, "t2", "t1")):
                mine, theirs = bridge_prefix(tag), bridge_prefix(foreign)
                address = address6(theirs, IPv4Address(other.first.address))
                for change in ("addr del ::1/128 dev lo", f"-6 route add ::1/128 via {mine[1]} dev eth0"):
                    inside(container.netns, "ip", *change.split())
                for asked, port in (
                    (HOST, 8083),
                    (str(mine[1]), 8083),
                    (str(theirs[1]), 8083),
                    ("fe80::1%eth0", 8083),
                    ("::1", 8084),
                    (BESIDE, 8083),
                    (str(address), 80),
                ):
                    assert not seen(container.netns, asked, port, patience=0.5), f"{tag} {asked}"
                # But where anybody gets.
                for port, gateway in ((8080, one.first.gateway), (8081, two.first.gateway)):
                    assert seen(container.netns, HOST, port).endswith(gateway)
                run("ip", "-n", beside(host), "-6", "route", "replace", str(mine), "via", HOST)
                own = str(address6(mine, IPv4Address(container.first.address)))
                assert not seen(beside(host), own, 80, patience=0.5)
                assert seen(host, own, 80) == str(mine[1])


async def test_ipv6_of_a_bridge_goes_with_the_last_port_and_comes_back_with_a_daemon(host: str, paths: Paths) -> None:
    def addresses() -> str:
        return inside(host, "ip", "-6", "address", "show", "dev", "shoalt1")

    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        sandbox = await network.connect(name(1), "bridge")
        await network.connect(name(2), "bridge")
        held = await network.publish(name(1), "web.1", [HostPort("tcp", 80, 8080)])
        assert not addresses()
        with server(sandbox.netns, "tcp", 80, "::"):
            await look(network)
            assert addresses()
        kept = {one: network.sandboxes()[one] for one in (name(1), name(2))}
    kept[name(1)] = Sandbox(sandbox.netns, sandbox.endpoints, ports=held.ports)
    with held, server(sandbox.netns, "tcp", 80, "::"):
        async with BridgeNetwork(paths, "t1") as network:
            await network.adopt(kept)
            assert seen(beside(host), HOST, 8080) == BESIDE
            assert "inet6" not in inside(kept[name(2)].netns, "ip", "address", "show", "eth0")
            await network.disconnect(name(1))
            assert not addresses()
            await network.disconnect(name(2))


async def test_a_host_goes_on_learning_routes(host: str, paths: Paths) -> None:
    def routes() -> str:
        return inside(host, "ip", "-6", "route", "show", "default", "proto", "ra")

    def setting(interface: str, of: str = "accept_ra") -> str:
        return inside(host, "cat", f"/proc/sys/net/ipv6/conf/{interface}/{of}")

    # A second card, whose owner does not want to hear of routers.
    run("ip", "-n", host, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", beside(host))
    inside(host, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth1/accept_ra")

    def learns() -> bool:
        # Its own address of this link, which a router speaks by, it has only in a moment.
        inside(beside(host), sys.executable, "-c", ADVERTISE, check=False)
        return bool(routes())

    eventually(learns, "it learns a route")
    async with published(paths, HostPort("tcp", 80, 8080)) as (_, _, place):
        assert setting("all", "forwarding") == "1"
        assert (setting("eth0"), setting("default"), setting("eth1"), setting(place.device)) == ("2", "2", "0", "0")
        assert routes()
        run("ip", "-n", host, "-6", "route", "flush", "default")
        eventually(learns, "it learns again")


async def test_what_others_change_is_mended_and_a_users_drop_holds(host: str, paths: Paths) -> None:
    async with published(paths, HostPort("tcp", 80, 8080)) as (network, sandbox, place):
        with server(sandbox.netns, "tcp", 80):
            for damage in ("nft flush ruleset", f"ip link delete {place.device}"):
                inside(host, *damage.split())
                assert not seen(beside(host), HOST, 8080, patience=0.5)
                await network._mend()
                assert seen(beside(host), HOST, 8080) == sandbox.first.gateway, damage
            chain = "type filter hook prerouting priority mangle;"
            drop = f"table ip6 mine {{ chain in {{ {chain} tcp dport 8080 ip6 saddr {BESIDE} drop; }}; }}"
            inside(host, "nft", drop)
            assert not seen(beside(host), HOST, 8080, patience=0.5)
            assert seen(host, HOST, 8080) == sandbox.first.gateway


async def test_flows_of_udp_follow_and_nothing_is_left(host: str, paths: Paths) -> None:
    """One and the same flow throughout: a port of the client's own."""
    ask = ASK.replace("one.settimeout", "one.bind(('', 40053)); one.settimeout").replace("sys.argv[6]", "'0.5'")

    def answered() -> bool:
        arguments = ("2", HOST, "8053", "0", "20")
        return inside(beside(host), sys.executable, "-c", ask, *arguments, check=False).startswith("20 ")

    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        sandbox = await network.connect(name(1), "bridge")
        assert not answered()  # and the kernel remembers where it led: to nobody
        with server(sandbox.netns, "udp", 53), await network.publish(name(1), "dns", [HostPort("udp", 53, 8053)]):
            assert answered()
            await network.disconnect(name(1))
            assert not answered()
        tables = inside(host, "nft", "list", "tables").splitlines()
        assert tables == ["table ip shoal_t1"]
        assert place("t1", "ports", network._pool.subnet).device not in inside(host, "ip", "link")  # type: ignore[union-attr]
        assert "fd" not in inside(host, "ip", "-6", "route")


async def test_what_the_last_run_published_goes_on_without_a_break(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        sandbox = await network.connect(name(1), "bridge")
        held = await network.publish(name(1), "web.1", [HostPort("tcp", 80, 8080)])
        sandbox = Sandbox(sandbox.netns, sandbox.endpoints, ports=held.ports)
    with held, server(sandbox.netns, "tcp", 80), client(beside(host)) as asking:
        async with BridgeNetwork(paths, "t1") as network:
            await network.adopt({name(1): sandbox})
            assert asking.communicate("\n", timeout=10)[0].strip() == sandbox.first.gateway
            await network.disconnect(name(1))


@contextmanager
def client(netns: str) -> Iterator["subprocess.Popen[str]"]:
    """Yield one that is connected, and asks once it is told to."""
    script = f"import socket; one = socket.create_connection(('{HOST}', 8080)); print('up', flush=True); "
    script += "input(); one.sendall(b'20'); print(one.recv(99).decode().strip())"
    command = ["nsenter", f"--net=/run/netns/{netns}", sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process


async def test_a_port_is_taken_from_nobody_and_held(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        await network.connect(name(1), "bridge")
        with closing(socket.socket(socket.AF_INET6)) as program:
            program.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            program.bind(("::1", 8080))
            program.listen()
            with pytest.raises(ShoalError, match=r"failed to bind host port \[::\]:8080/tcp: address already in use"):
                await network.publish(name(1), "web.1", [HostPort("tcp", 80, 8080)])
        held = await network.publish(name(1), "web.1", [HostPort("tcp", 80, 8080)])
        with held, closing(socket.socket(socket.AF_INET6)) as program:
            program.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with pytest.raises(OSError, match="in use"):
                program.bind(("::", 8080))
        await network.disconnect(name(1))
