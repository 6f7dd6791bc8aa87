"""Through its bridge a container reaches neither its host's manager, on any address of the host, nor gossip and VXLAN
of any host.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import create, join, make_swarm, wait_running
from tests.harness.hosts import Host, host, run
from tests.harness.network import network

pytestmark = pytest.mark.root

ASK = """
import socket, sys
for address in sys.argv[2:]:
    try:
        socket.create_connection((address, int(sys.argv[1])), 1).close()
        print("reached", address)
    except OSError:
        pass
"""


def reached(on: Host, netns: str, port: int, *addresses: str) -> set[str]:
    """Return the addresses that answer on a port, as seen from a container's network."""
    found = run(*on.inside("nsenter", f"--net={netns}", sys.executable, "-c", ASK, str(port), *addresses)).stdout
    return {line.split()[1] for line in found.splitlines()}


@contextlib.contextmanager
def other_server(on: Host, port: int) -> Iterator[None]:
    command = f'import socket; s = socket.create_server(("", {port})); print("up", flush=True)\nwhile True: s.accept()'
    with subprocess.Popen(on.inside(sys.executable, "-c", command), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("port", [2377, 2477])
def test_a_container_does_not_reach_the_manager_of_its_host(port: int) -> None:
    with host("closed") as manager:
        make_swarm(manager, "--advertise-addr", manager.address, "--listen-addr", f"0.0.0.0:{port}")
        create(manager, "web", 1)
        wait_running(manager, "web", {socket.gethostname(): 1})
        bridge = manager.docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}").stdout
        addresses = (bridge.strip(), manager.address)
        (netns,) = [str(path) for path in (manager.exec_root / "netns").iterdir()]
        with other_server(manager, 8099):
            assert reached(manager, netns, 8099, *addresses) == set(addresses)  # the host itself is as open as Docker's
            assert reached(manager, netns, port, *addresses) == set()
            at_home = run(*manager.inside(sys.executable, "-c", ASK, str(port), *addresses)).stdout
            assert at_home.split() == ["reached", addresses[0], "reached", addresses[1]]
        manager.stop()
        manager.start()
        assert reached(manager, netns, port, *addresses) == set()
        manager.docker("swarm", "leave", "--force")
        rules = run(*manager.inside("nft", "list", "ruleset")).stdout
        assert str(port) not in rules


# Prints whether a datagram with the expected word has come.
LISTEN = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", int(sys.argv[1])))
print("up", flush=True)
while True:
    print(sock.recv(100).decode(), flush=True)
"""
SEND = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(5):
    sock.sendto(sys.argv[3].encode(), (sys.argv[2], int(sys.argv[1])))
"""


def test_a_container_speaks_neither_gossip_nor_vxlan_to_any_host() -> None:
    """If it could, it could pretend to be a node of any overlay, because its packets have its host's address."""
    with network("closedgossip") as net:
        first, second = net.add("first"), net.add("second")
        secret = make_swarm(first, "--data-path-port", "4800")
        join(second, first, secret)
        create(first, "web", 2)
        wait_running(first, "web", {"first": 1, "second": 1})
        (netns,) = [str(path) for path in (first.exec_root / "netns").iterdir()]
        addresses = (first.address, second.address)
        assert reached(first, netns, 7946, *addresses) == set()
        for port in (4789, 4800):
            command = second.inside(sys.executable, "-c", LISTEN, str(port))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
                assert listener.stdout is not None
                assert listener.stdout.readline() == "up\n"
                try:
                    send = (sys.executable, "-c", SEND, str(port), second.address)
                    run(*first.inside("nsenter", f"--net={netns}", *send, "container"))
                    run(*first.inside(*send, "host"))
                    assert listener.stdout.readline() == "host\n"
                finally:
                    listener.kill()
