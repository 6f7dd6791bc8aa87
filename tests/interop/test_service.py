"""`shoald` under a service manager: it says when it serves and when it ends, and another command ends its
containers.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import PATIENCE, REPOSITORY, Host, eventually, run
from tests.interop.conftest import import_image
from tests.interop.services import create, running

pytestmark = pytest.mark.root

POLITE = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"


@pytest.fixture
def manager() -> Iterator[tuple[str, socket.socket]]:
    """Yield the socket of a service manager."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(f"{folder}/n")
        yield f"{folder}/n", listener


@pytest.fixture
def served() -> Iterator[Host]:
    made = Host("service")
    try:
        yield made
    finally:
        made.close()


def test_says_that_it_serves_when_it_does_and_lets_nobody_else_say_so(
    manager: tuple[str, socket.socket], served: Host
) -> None:
    path, listener = manager
    served.environment = {"NOTIFY_SOCKET": path}
    served.start(wait=False)
    assert listener.recv(4096).splitlines() == [b"READY=1", f"STATUS=serves on unix://{served.socket}".encode()]
    served.docker("swarm", "init", "--advertise-addr", served.address)  # at once, because it serves
    etcd = next(pid for pid in served.processes() if "etcd" in Path(f"/proc/{pid}/comm").read_text())
    assert path.encode() not in Path(f"/proc/{etcd}/environ").read_bytes()
    served.stop()
    assert listener.recv(4096).splitlines()[0] == b"STOPPING=1"


def test_its_containers_end_by_a_command_of_their_own(served: Host) -> None:
    served.start()
    served.docker("swarm", "init", "--advertise-addr", served.address)
    import_image(served)
    create(served, "web", "--replicas", "2", "--stop-signal", "TERM", command=("sh", "-c", POLITE))
    both = running(served, "web")
    assert len(both) == 2
    eventually(lambda: all(served.docker("logs", one).stdout == "ready\n" for one in both), "they hear their signal")
    served.stop()
    end = (
        sys.executable, "-m", "shoal.daemon.main", "--end-containers", f"--data-root={served.data_root}",
        f"--exec-root={served.exec_root}",
    )  # fmt: skip
    done = run(*end, cwd=REPOSITORY, env=os.environ)
    assert "2 containers ended by themselves, 0 were killed, 0 do not end" in done.stderr
    assert not [pid for pid in served.processes() if "conmon" in Path(f"/proc/{pid}/comm").read_text()]
    assert "0 containers ended" in run(*end, cwd=REPOSITORY, env=os.environ).stderr
    served.start()
    eventually(lambda: len(running(served, "web")) == 2, "two tasks run again", show=served.log)
