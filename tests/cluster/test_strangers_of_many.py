"""Strangers attack the port of the leader of three managers. The others go on, and new nodes get in."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.swarms import join, make_swarm, nodes, token
from tests.cluster.test_failover import leader_of, services, wait_statuses, write
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

GROWTH_LIMIT = 128 << 20  # how much a manager may grow while 2,000 connections are open

# Opens connections of each kind, and opens closed ones again, until its input ends. Prints how many it has opened.
_FLOOD = """
import random, selectors, socket, ssl, sys, threading, time
host, count, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
rng, opened, links = random.Random(1), 0, selectors.DefaultSelector()


def hello():
    outgoing = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def link():
    global opened
    made = socket.create_connection((host, 2377), 20)
    try:
        if how == "garbage":
            made.sendall(rng.randbytes(4000))
        elif how == "half a hello":
            made.sendall(hello()[:100])
        elif how == "no answer to hello":
            made.sendall(hello())
        elif how == "tls":
            made = context.wrap_socket(made)
    except OSError:
        pass
    made.setblocking(False)
    links.register(made, selectors.EVENT_READ)
    opened += 1


threading.Thread(target=lambda: (sys.stdin.read(), __import__("os")._exit(0)), daemon=True).start()
while opened < count:
    link()
print("ready", flush=True)
while True:
    for key, _ in links.select(0.2):
        try:
            if key.fileobj.recv(65536):
                continue
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
        except OSError:
            pass
        links.unregister(key.fileobj)
        key.fileobj.close()
        try:
            link()
        except OSError:
            time.sleep(0.01)
        time.sleep(0.002)
    print(opened, flush=True)
"""


class Flood:
    """Connections that a host holds open to another host's port 2377."""

    def __init__(self, source: Host, target: Host, count: int, how: str) -> None:
        command = source.inside("/usr/bin/python3", "-c", _FLOOD, target.address, str(count), how)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        out, _ = self.process.communicate()
        assert self.process.returncode == 0, out[-2000:]


@pytest.fixture
def net() -> Iterator[Network]:
    with network("many") as made:
        yield made


@pytest.fixture
def three(net: Network) -> list[Host]:
    first, *others = (net.add(f"m{number}") for number in (1, 2, 3))
    make_swarm(first)
    secret = token(first, "manager")
    for host in others:
        join(host, first, secret)
    wait_statuses(first, ["Leader", "Reachable", "Reachable"])
    return [first, *others]


def memory(on: Host) -> int:
    for line in Path(f"/proc/{on.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")


@pytest.mark.parametrize("how", ["idle", "garbage", "half a hello", "no answer to hello", "tls"])
def test_two_thousand_connections_to_the_leader_keep_nobody_out(net: Network, three: list[Host], how: str) -> None:
    leader = leader_of(three, three[0])
    newcomer, stranger = net.add("new"), net.add("stranger", start=False)
    before = memory(leader)
    flood = Flood(stranger, leader, 2000, how)
    try:
        join(newcomer, leader, token(leader))
        for host in three:
            name = f"by-{host.hostname}"  # a call that failed may have made it all the same
            eventually(lambda: write(host, name) or name in services(host), "it writes", show=leader.log)  # noqa: B023
        eventually(lambda: nodes(leader)["new"] == "Ready", "it is a node", show=newcomer.log)
        wait_statuses(three[1], ["Leader", "Reachable", "Reachable", ""])
        assert leader_of(three, three[1]) is leader
        assert memory(leader) - before < GROWTH_LIMIT
    finally:
        flood.close()
    assert services(leader) == ["by-m1", "by-m2", "by-m3"]
    assert nodes(leader) == dict.fromkeys(("m1", "m2", "m3", "new"), "Ready")
    assert "too many connections on port 2377" in leader.log() or how == "garbage"
    assert "Traceback" not in leader.log()
