"""Every file that the daemon keeps is cut, emptied or garbled, one at a time.

The daemon names the file, in its log or in `docker info`, and never writes over it. Everything that does not need the
file goes on, and once the file is whole again everything else does too.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shoal.runtime import processes
from tests.cluster import faults
from tests.cluster.faults import call, create, end, ensure_running, settled
from tests.harness.hosts import Host, eventually

pytestmark = pytest.mark.root

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: min(len(data) // 2, 100)],
    "empty": lambda data: b"",
    "garbled": lambda data: bytes(byte ^ 0x5A for byte in data[:4096]) + data[4096:],
}

FILES = {
    "engine id": "engine-id",
    "network": "network/local.json",
    "volume": "volumes/vol/volume.json",
    "container": "containers/*/config.json",
    "image": "images/records/*.json",
    "node state": "swarm/docker-state.json",
    "key": "swarm/certificates/swarm-node.key",
    "certificate": "swarm/certificates/swarm-node.crt",
    "root certificate": "swarm/certificates/swarm-root-ca.crt",
    "tasks": "swarm/worker/tasks.db",
    "etcd's database": "swarm/etcd/member/snap/db",
    "etcd's log": "swarm/etcd/member/wal/*.wal",
}


# etcd makes its database again from its log, and reads the second of its two first pages if the first one is damaged.
# For SQLite an empty file is a new database: the manager sends this node's tasks again, and nothing is lost.
MENDED = {("etcd's database", "empty"), ("etcd's database", "garbled"), ("tasks", "empty")}

# Each start takes a second or more. So each file gets only one kind of damage, in turn, unless all are asked for.
CASES = [
    (name, damage)
    for at, name in enumerate(FILES)
    for number, damage in enumerate(DAMAGES)
    if os.environ.get("SHOAL_FAULT_ALL") or at % len(DAMAGES) == number
]


@pytest.fixture(scope="module")
def module_swarm() -> Iterator[Host]:
    with faults.swarm("files") as made:
        call(made, "POST", "/volumes/create", {"Name": "vol"})
        yield made
        end(made)


@pytest.fixture
def swarm(module_swarm: Host) -> Host:
    """Return the module's swarm with one service. It must be whole before and after the test."""
    ensure_running(module_swarm)
    if not call(module_swarm, "GET", "/services"):
        create(module_swarm, "web", 2)
    settled(module_swarm, {"web": 2})
    return module_swarm


def _named(on: Host, name: str, path: Path) -> bool:
    """Return whether the daemon named the file. It names etcd's and a volume's files by their folder."""
    said = on.log()
    info = []
    faults.try_to(lambda: info.append(str(call(on, "GET", "/info")["Swarm"]["Error"])))
    folder = path.parents[2] if name.startswith("etcd") else path
    return str(folder) in said + "".join(info)


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_damaged_file_is_named_and_kept_and_the_rest_goes_on(swarm: Host, name: str, damage: str) -> None:
    (path,) = list(swarm.data_root.glob(FILES[name]))[:1]
    alive = [pid for container in faults.live_cgroups(swarm) for pid in faults.pids_of(swarm, container)]
    assert len(alive) == 2
    assert swarm.stop() == 0
    whole = path.read_bytes()
    broken = DAMAGES[damage](whole)
    path.write_bytes(broken)
    swarm.log_file.write_bytes(b"")
    try:
        swarm.start(wait=False)
        eventually(lambda: _ended(swarm) or _answers(swarm), "it is up, or not", show=swarm.log)
        if (name, damage) not in MENDED:
            eventually(lambda: _named(swarm, name, path), "the file is named", show=swarm.log)
        assert "Traceback" not in swarm.log(), swarm.log()
        if _ended(swarm):
            assert swarm.process is not None
            assert swarm.process.returncode == 1
            assert name in ("engine id", "network")
        assert all(processes.started(pid) for pid in alive)
    finally:
        if not _ended(swarm):
            swarm.stop()
        found = path.read_bytes()
        if (name, damage) not in MENDED:
            path.write_bytes(whole)
    if not name.startswith("etcd") and (name, damage) not in MENDED:
        assert found == broken
    ensure_running(swarm)
    settled(swarm, {"web": 2})
    assert [volume["Name"] for volume in call(swarm, "GET", "/volumes")["Volumes"]] == ["vol"]
    assert call(swarm, "GET", f"/images/{faults.IMAGE}/json")


def _answers(on: Host) -> bool:
    return faults.try_to(lambda: call(on, "GET", "/_ping"))


def _ended(on: Host) -> bool:
    return on.process is None or on.process.poll() is not None
