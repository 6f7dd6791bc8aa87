"""The host's own network with real namespaces: containers reach the outside, nobody outside reaches them, nothing is
left.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.errors import DamagedState, ShoalError
from shoal.host import linux
from shoal.host.events import EventBus
from shoal.network.bridge import BridgeNetwork, OtherBridge
from shoal.paths import Paths
from tests.harness.hosts import eventually, run

pytestmark = pytest.mark.root

CLONE_NEWNET = 0x40000000
SERVE = """
import socket
listener = socket.create_server(("", {port}))
print("up", flush=True)
while True:
    connection, address = listener.accept()
    connection.send(address[0].encode())
    connection.close()
"""
ASK = "import socket;s=socket.create_connection(('{host}',{port}),timeout=2);print(s.recv(99).decode())"


def name(number: int) -> str:
    return f"{number:012x}" + "0" * 52


def veths(namespace: str) -> list[str]:
    return [line for line in run("ip", "-n", namespace, "-o", "link").stdout.splitlines() if ": ve0" in line]


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    yield paths
    for file in paths.netns.iterdir() if paths.netns.exists() else ():
        subprocess.run(["umount", "-l", file], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """Yield two namespaces: a host with a network card 10.98.0.1, and another machine, 10.98.0.2, behind it."""
    one, two = f"shoal-h{os.getpid()}", f"shoal-o{os.getpid()}"
    for namespace in (one, two):
        subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    run("ip", "-n", one, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", two)
    for namespace, address in ((one, "10.98.0.1/24"), (two, "10.98.0.2/24")):
        run("ip", "-n", namespace, "address", "add", address, "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
    # Threads and processes that start from here on are in the host's namespace, like those of a daemon that was started
    # there.
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{one}", "rb") as there:
        linux.setns(there.fileno(), CLONE_NEWNET)
        try:
            yield one
        finally:
            linux.setns(home.fileno(), CLONE_NEWNET)
    for namespace in (one, two):
        run("ip", "netns", "del", namespace)


@contextlib.contextmanager
def server(netns: str, port: int) -> Iterator[None]:
    command = ["nsenter", f"--net={netns}", sys.executable, "-c", SERVE.format(port=port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


def ask(netns: str, address: str, port: int) -> str:
    command = ["nsenter", f"--net={netns}", sys.executable, "-c", ASK.format(host=address, port=port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stderr)  # noqa: T201 - pytest shows it when the test fails
    return done.stdout.strip()


async def test_a_container_reaches_out_as_the_host_and_nobody_reaches_it(host: str, paths: Paths) -> None:
    other = f"/run/netns/{host.replace('-h', '-o')}"
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        a, b = await network.connect(name(1), "bridge"), await network.connect(name(2), "bridge")
        with server(other, 8081), server(b.netns, 8082), server(f"/run/netns/{host}", 8083):
            assert ask(a.netns, "10.98.0.2", 8081) == "10.98.0.1"  # masqueraded
            assert ask(a.netns, b.first.address, 8082) == a.first.address  # neighbours see each other's own addresses
            assert ask(a.netns, a.first.gateway, 8083) == a.first.address
            assert ask(f"/run/netns/{host}", b.first.address, 8082) == b.first.gateway
            run("ip", "-n", Path(other).name, "route", "add", "172.16.0.0/12", "via", "10.98.0.1")
            assert ask(other, b.first.address, 8082) == ""


async def test_the_bridge_keeps_its_mac_whoever_comes_and_goes(host: str, paths: Paths) -> None:
    """A bridge without a MAC of its own has the lowest of its ports'. When that goes, the others send to nobody for
    as long as they remember that MAC."""

    def mac() -> str:
        (link,) = json.loads(run("ip", "-n", host, "-j", "link", "show", "shoalt1").stdout)
        return str(link["address"])

    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        before = mac()
        for number in range(1, 6):
            await network.connect(name(number), "bridge")
            assert mac() == before
        for number in range(1, 5):
            await network.disconnect(name(number))
            assert mac() == before
    # As an older version has left it.
    other = "02:00:00:00:00:01"
    run("ip", "-n", host, "link", "delete", "shoalt1")
    run("ip", "-n", host, "link", "add", "shoalt1", "type", "bridge")
    run("ip", "-n", host, "link", "add", "port0", "address", other, "type", "veth", "peer", "port1")
    run("ip", "-n", host, "link", "set", "port0", "master", "shoalt1", "up")
    run("ip", "-n", host, "link", "set", "shoalt1", "up")
    assert mac() == other
    async with BridgeNetwork(paths, "t1"):
        run("ip", "-n", host, "link", "delete", "port0")
        assert mac() == other


async def test_a_container_does_not_reach_the_hosts_loopback(host: str, paths: Paths) -> None:
    """Where ports are published the bridge routes such addresses; a container with capabilities can send to them."""
    async with BridgeNetwork(paths, "t1") as network:
        inside = await network.connect(name(1), "bridge")
        route = "echo 1 > /proc/sys/net/ipv4/conf/{}/route_localnet"
        run("nsenter", f"--net=/run/netns/{host}", "sh", "-c", route.format("shoalt1"))
        run("nsenter", f"--net={inside.netns}", "sh", "-c", route.format("eth0"))
        for change in (
            "address del 127.0.0.1/8 dev lo",
            f"route add 127.0.0.0/8 via {inside.first.gateway} src {inside.first.address}",
        ):
            run("nsenter", f"--net={inside.netns}", "ip", *change.split())
        with server(f"/run/netns/{host}", 8083):
            assert ask(inside.netns, "127.0.0.1", 8083) == ""
            run("nsenter", f"--net=/run/netns/{host}", "nft", "flush", "chain", "ip", "shoal_t1", "loopback")
            assert ask(inside.netns, "127.0.0.1", 8083) == inside.first.address  # it would


async def test_an_endpoint_tells_what_the_namespace_has(host: str, paths: Paths) -> None:
    events = EventBus()
    async with BridgeNetwork(paths, "t1", events=events) as network:
        sandbox = await network.connect(name(1), "bridge")
        assert await network.connect(name(1), "bridge") is sandbox
        (endpoint,) = sandbox.endpoints
        shown = run("nsenter", f"--net={sandbox.netns}", "ip", "address", "show", "eth0").stdout
        assert f"inet {endpoint.address}/{endpoint.prefix_length}" in shown
        assert f"link/ether {endpoint.mac}" in shown
        assert "inet6" not in shown
        assert "127.0.0.1/8" in run("nsenter", f"--net={sandbox.netns}", "ip", "address", "show", "lo").stdout
        assert endpoint.host_interface in "".join(veths(host))
        assert [n.name for n in network.networks()] == ["bridge", "host", "none"]
        assert network.networks()[0].id == endpoint.network_id
        await network.disconnect(name(1))
        await network.disconnect(name(1))
        assert [event.action for event in events.since(0)] == ["connect", "disconnect"]


async def test_none_has_a_loopback_alone_and_host_no_namespace(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        alone = await network.connect(name(1), "none")
        links = run("nsenter", f"--net={alone.netns}", "ip", "-o", "link", "show", "up").stdout.splitlines()
        assert [line.split()[1] for line in links] == ["lo:"]
        assert (await network.connect(name(2), "host")).netns == ""


async def test_nothing_is_left(host: str, paths: Paths) -> None:
    before = run("ip", "-n", host, "-o", "link").stdout
    async with BridgeNetwork(paths, "t1") as network:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(network.connect(name(number), "bridge"))
        assert len({one.first.address for one in network.sandboxes().values()}) == 20
        assert len(veths(host)) == 20
        for number in range(20):
            await network.disconnect(name(number))
        assert list(paths.netns.iterdir()) == []
        await asyncio.to_thread(eventually, lambda: not veths(host), "the kernel has removed the veth pairs")
    assert run("ip", "-n", host, "-o", "link").stdout == before
    assert run("nsenter", f"--net=/run/netns/{host}", "nft", "list", "tables").stdout == ""


async def test_a_restart_takes_over_what_it_knows_and_removes_the_rest(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        kept = await network.connect(name(1), "bridge")
        await network.connect(name(2), "bridge")
    async with BridgeNetwork(paths, "t1") as network:
        with server(kept.netns, 8082):
            await network.adopt({name(1): kept})
            assert ask(f"/run/netns/{host}", kept.first.address, 8082) == kept.first.gateway
        assert network.sandboxes() == {name(1): kept}
        assert [file.name for file in paths.netns.iterdir()] == [name(1)[:12]]
        assert len(veths(host)) == 1
        assert (await network.connect(name(3), "bridge")).first.address not in (kept.first.address, "")
        assert await network.connect(name(1), "bridge") == kept
        await network.remove()
        assert veths(host) == []


async def test_a_restart_leaves_what_a_process_uses_though_no_record_names_it(host: str, paths: Paths) -> None:
    """As for a container whose record on disk is damaged: it runs on, and so does its network."""
    home = f"/run/netns/{host}"
    async with BridgeNetwork(paths, "t1") as network:
        stray = await network.connect(name(1), "bridge")
        await network.connect(name(2), "bridge")
    with server(stray.netns, 8082):
        async with BridgeNetwork(paths, "t1") as network:
            await network.adopt({})
            assert network.sandboxes() == {}
            assert [file.name for file in paths.netns.iterdir()] == [name(1)[:12]]
            assert len(veths(host)) == 1
            taken = [(await network.connect(name(number), "bridge")).first.address for number in range(3, 6)]
            assert stray.first.address not in taken
            assert ask(home, stray.first.address, 8082) == stray.first.gateway
            for number in range(3, 6):
                await network.disconnect(name(number))
        assert ask(home, stray.first.address, 8082) == stray.first.gateway
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({})
        assert list(paths.netns.iterdir()) == []
        assert veths(host) == []


async def test_a_stray_network_that_is_taken_away_gives_its_address_back(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        stray = await network.connect(name(1), "bridge")
    with server(stray.netns, 8082):
        async with BridgeNetwork(paths, "t1") as network:
            await network.adopt({})
            await network.disconnect(name(1))
            assert list(paths.netns.iterdir()) == []
            assert len(network._pool) == 0


async def test_a_restart_keeps_a_bridge_in_use_whatever_the_host_routes_now(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        kept = await network.connect(name(1), "bridge")
    run("ip", "-n", host, "route", "add", "172.16.0.0/12", "via", "10.98.0.2")
    run("ip", "-n", host, "link", "set", network.interface, "down")
    run("nft", "delete", "table", "ip", "shoal_t1")
    other = f"/run/netns/{host.replace('-h', '-o')}"
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({name(1): kept})
        with server(other, 8081):
            assert ask(kept.netns, "10.98.0.2", 8081) == "10.98.0.1"
        await network.disconnect(name(1))


async def test_a_cancelled_connect_leaves_nothing(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(network.connect(name(number), "bridge")) for number in range(5)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        await network.disconnect(name(99))  # after the work that the thread still had to do
        assert list(paths.netns.iterdir()) == []
        assert network.sandboxes() == {}


async def test_after_a_reboot_a_namespace_is_made_anew(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        before = await network.connect(name(1), "bridge")
        await network.remove()
    (paths.netns / name(1)[:12]).touch()
    async with BridgeNetwork(paths, "t1") as network:
        await network.adopt({name(1): before})
        assert network.sandboxes() == {}
        after = await network.connect(name(1), "bridge")
        assert (after.netns, after.first.network_id) == (before.netns, before.first.network_id)


async def test_two_nodes_share_a_host(host: str, paths: Paths, tmp_path: Path) -> None:
    others = Paths(tmp_path / "data2", tmp_path / "exec2")
    async with BridgeNetwork(paths, "t1") as one, BridgeNetwork(others, "t2") as two:
        first, second = one.networks()[0], two.networks()[0]
        assert first.subnet != second.subnet
        a, b = await one.connect(name(1), "bridge"), await two.connect(name(2), "bridge")
        with server(b.netns, 8082):
            assert ask(a.netns, b.first.address, 8082) == ""  # another node's containers count as outside
        await one.disconnect(name(1))
        await two.disconnect(name(2))


async def test_a_bridge_says_whose_it_is(host: str, paths: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path / "d2", tmp_path / "e2")
    async with BridgeNetwork(paths, "aaa") as one, BridgeNetwork(other, "bbb") as two:
        await one.connect(name(1), "bridge")
        assert await two.others() == [OtherBridge("shoalaaa", str(paths.data_root), 1)]
        await one.disconnect(name(1))


async def test_a_subnet_that_the_host_uses_is_passed_over(host: str, paths: Paths) -> None:
    run("ip", "-n", host, "route", "add", "172.16.0.0/12", "via", "10.98.0.2")
    async with BridgeNetwork(paths, "t1") as network:
        assert network.networks()[0].subnet.startswith("192.168.")


async def test_a_failed_connect_leaves_nothing(host: str, paths: Paths) -> None:
    async with BridgeNetwork(paths, "t1") as network:
        run("ip", "-n", host, "link", "del", network.interface)
        with pytest.raises(ShoalError, match="cannot connect to the bridge shoalt1"):
            await network.connect(name(1), "bridge")
        assert list(paths.netns.iterdir()) == []
        assert network.sandboxes() == {}


async def test_a_damaged_record_is_named_and_kept(host: str, paths: Paths) -> None:
    paths.network.mkdir(parents=True)
    file = paths.network / "local.json"
    file.write_text('{"bridge_id": ')
    with pytest.raises(DamagedState, match=r"local\.json"):
        async with BridgeNetwork(paths, "t1"):
            pass
    assert file.read_text() == '{"bridge_id": '
