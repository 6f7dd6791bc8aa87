"""A container does not reach its host's manager by its bridge, on no address of the host's."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import create, make_swarm, wait_running
from tests.harness.hosts import Host, host, run

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
    """Return which addresses answer on a port, as seen from a container's network."""
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
        assert "dport" not in rules
