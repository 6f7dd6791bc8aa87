"""`script/bench data-plane`: the cost of overlays and virtual IPs, each compared with a simpler way.

Two hosts as network namespaces on one wire. It measures: the throughput from task to task by VXLAN, and of the same
containers with a plain veth pair between them; connections by a virtual IP, and to the task itself in the same
namespace; the time of connecting containers to many networks, of the first and of the last; the time of one change of a
virtual IP.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface
from pathlib import Path
from random import Random

from benchmarks.report import Row, heading, say, settle, table
from shoal.network.balancing.balancer import Balancer
from shoal.network.balancing.rules import Virtual
from shoal.network.kernel.state import OverlayState, overlay_state
from shoal.network.records import PeerRecord
from shoal.network.wanted import Endpoint, Overlay, Subnet
from tests.harness.hosts import run
from tests.harness.overlay_hosts import OverlayHost, overlay_hosts

_RECEIVE = """
import socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
streams = [listener.accept()[0] for _ in range(int(sys.argv[2]))]
import threading
def drain(one):
    buffer = memoryview(bytearray(1 << 20))
    while one.recv_into(buffer): pass
threads = [threading.Thread(target=drain, args=(one,)) for one in streams]
for one in threads: one.start()
for one in threads: one.join()
"""
_SEND = """
import os, socket, sys, time
end = time.monotonic() + float(sys.argv[3])
one = socket.create_connection((sys.argv[1], int(sys.argv[2])))
data, sent = bytes(1 << 20), 0
start = time.monotonic()
while time.monotonic() < end: sent += one.send(data)
print(sent * 8 / (time.monotonic() - start) / 1e9)
"""
_ACCEPT = """
import socket
listener = socket.create_server(("", 80), backlog=1024)
print("up", flush=True)
while True: listener.accept()[0].close()
"""
_CONNECT = """
import socket, struct, sys, time
end, count = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.connect((sys.argv[1], 80))
    one.close()
    count += 1
print(count / float(sys.argv[2]))
"""
VIP = "10.1.0.100"


def start(path: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    command = ["nsenter", f"--net={path}", sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def mac(address: IPv4Address) -> str:
    return "02:42:" + address.packed.hex(":")


def part(
    host: OverlayHost, number: int, here: dict[int, Path], there: dict[int, OverlayHost], interface: str = "eth0"
) -> OverlayState:
    """Return a host's part of network `number`: its containers by the last byte of their addresses."""
    overlay = Overlay(f"net{number}", "", (Subnet(f"10.{number}.0.0/24", f"10.{number}.0.1", 5000 + number),))
    endpoints = []
    for last, path in here.items():
        address = IPv4Address(f"10.{number}.0.{last}")
        name = f"{number:04x}{last:04x}{host.number:04x}".ljust(64, "0")
        endpoints.append((str(path), Endpoint(name, overlay.id, f"{address}/24", mac(address), interface)))
    peers = [
        PeerRecord(ip_interface(f"10.{number}.0.{last}/24"), mac(IPv4Address(f"10.{number}.0.{last}")), other.address)
        for last, other in there.items()
    ]
    made, troubles = overlay_state(overlay, endpoints, peers, local=host.address, vxlan_port=4789, path_mtu=1500)
    assert not troubles, troubles
    return made


def throughput(sender: Path, receiver: Path, address: str, streams: int, seconds: float) -> float:
    """Return the throughput of all streams together, in Gbit/s."""
    with start(receiver, _RECEIVE, "5001", str(streams)) as server:
        assert server.stdout
        server.stdout.readline()
        senders = [start(sender, _SEND, address, "5001", str(seconds)) for _ in range(streams)]
        rates = [float(one.communicate()[0]) for one in senders]
    return sum(rates)


def connections(client: Path, address: str, seconds: float) -> float:
    """Return how many connections a second one client opens."""
    return float(start(client, _CONNECT, address, str(seconds)).communicate()[0])


def timed(host: OverlayHost, work: Callable[[], object]) -> float:
    """Return how many milliseconds a call takes on the host's thread, without the time to get there."""

    def clock() -> float:
        before = time.perf_counter()
        work()
        return (time.perf_counter() - before) * 1000

    return host.do(clock)


def traffic(one: OverlayHost, two: OverlayHost, seconds: float) -> list[Row]:
    a, b = one.sandbox("a"), two.sandbox("b")
    assert not one.do(lambda: one.overlays.apply([part(one, 1, {5: a}, {6: two})]))
    assert not two.do(lambda: two.overlays.apply([part(two, 1, {6: b}, {5: one})]))
    run(
        "nsenter",
        f"--net={a}",
        "ip",
        "link",
        "add",
        "plain",
        "type",
        "veth",
        "peer",
        "plain",
        "netns",
        f"/proc/{_in(b)}/ns/net",
    )
    for path, last in ((a, 1), (b, 2)):
        run("nsenter", f"--net={path}", "ip", "address", "add", f"10.99.9.{last}/24", "dev", "plain")
        run("nsenter", f"--net={path}", "ip", "link", "set", "plain", "up")
    rows: list[Row] = []
    for streams in (1, 4):
        say(f"throughput, {streams} streams")
        measured: dict[str, list[float]] = {"shoal": [], "peer": []}
        for _ in range(3):
            measured["shoal"].append(throughput(a, b, "10.1.0.6", streams, seconds))
            measured["peer"].append(throughput(a, b, "10.99.9.2", streams, seconds))
        rows.append((f"task to task, streams: {streams} (peer: plain veth)", "Gbit/s", measured))
    balancer = Balancer(one.nftables, Random(1))
    one.do(lambda: balancer.apply(a, {ip_address(VIP): Virtual(ip_address(VIP), frozenset({ip_address("10.1.0.6")}))}))
    say("connections")
    with start(b, _ACCEPT) as server:
        assert server.stdout
        server.stdout.readline()
        measured = {"shoal": [], "peer": []}
        for _ in range(3):
            measured["shoal"].append(connections(a, VIP, seconds))
            measured["peer"].append(connections(a, "10.1.0.6", seconds))
        server.kill()
    rows.append(("connections by a virtual IP (peer: to the task)", "/s", measured))
    return rows


_HOLDERS: list[subprocess.Popen[bytes]] = []


def _in(path: Path) -> int:
    """Start a process in a namespace."""
    _HOLDERS.append(subprocess.Popen(["nsenter", f"--net={path}", "sleep", "600"]))
    return _HOLDERS[-1].pid


def virtual_ips(one: OverlayHost) -> list[Row]:
    path = one.sandbox("v")
    balancer = Balancer(one.nftables, Random(1))
    rows: list[Row] = []
    for count in (1, 10, 200):
        backends = [frozenset(IPv4Address(f"10.1.{shift}.0") + at for at in range(count)) for shift in (1, 3)]
        times = []
        for turn in range(41):
            wanted = {ip_address(VIP): Virtual(ip_address(VIP), backends[turn % 2], backends[1 - turn % 2])}
            times.append(timed(one, lambda wanted=wanted: balancer.apply(path, wanted)))  # type: ignore[misc]
        rows.append((f"one change of a virtual IP, backends: {count}", "ms", {"shoal": times[1:]}))
    return rows


def attaching(one: OverlayHost, tasks: int, networks: int) -> list[Row]:
    say(f"{tasks} tasks in {networks} networks each")
    paths = [one.sandbox(f"t{number}") for number in range(tasks)]
    states = [part(one, 1 + number, {}, {}) for number in range(networks)]
    assert not one.do(lambda: one.overlays.apply(states))
    times = []
    for count in range(1, tasks + 1):
        here = {10 + number: path for number, path in enumerate(paths[:count])}
        # Only the last one is new. Making the states takes time, too, but not the kernel's.
        states = [
            replace(part(one, 1 + number, here, {}, f"eth{number}"), mtu=states[number].mtu)
            for number in range(networks)
        ]
        wanted = list(states)
        times.append(timed(one, lambda wanted=wanted: one.overlays.apply(wanted)) / networks)  # type: ignore[misc]
    tenth = max(1, tasks // 10)
    return [
        (
            "attaching to a network, the last tenth (peer: the first)",
            "ms",
            {"shoal": times[-tenth:], "peer": times[:tenth]},
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer tasks, shorter streams")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    settle()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder, overlay_hosts(2, Path(folder)) as (one, two):
        try:
            rows = traffic(one, two, 1.0 if quick else 5.0)
            alone = virtual_ips(one)
            one.do(lambda: one.overlays.apply([]))
            rows += attaching(one, *((40, 5) if quick else (200, 20)))
        finally:
            for holder in _HOLDERS:
                holder.kill()
                holder.wait()
    print(heading(load, ()))
    print(table(rows, ("shoal", "peer")))
    print(table(alone, ("shoal",)))


if __name__ == "__main__":
    main()
