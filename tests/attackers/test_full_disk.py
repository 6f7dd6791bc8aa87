"""Logs and files of containers fill the disk for good: what else runs goes on, and all comes back with room."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import call, create, settled
from tests.cluster.test_faults_disk import small_disk
from tests.harness.hosts import Host, eventually
from tests.interop.conftest import IMAGE

pytestmark = pytest.mark.root

# etcd's own files take more than 120 MiB: two of its log, each preallocated with 64.
SIZE, FULL = 400 << 20, 1 << 20


@pytest.fixture
def on() -> Iterator[Host]:
    with small_disk("data_root", f"size={SIZE}") as made:
        create(made, "kept", 1)
        settled(made, {"kept": 1})
        yield made
        assert "Traceback" not in made.log_file.read_text()


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_a_log_that_fills_the_disk_stops_no_other_container(on: Host) -> None:
    """Its limit is larger than the disk."""
    (kept,) = {one["Id"] for one in faults.containers(on, "kept")}
    on.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "writer", "--log-driver", "json-file", "--log-opt",
        "max-size=1g", "--restart-condition", "none", "--stop-signal", "KILL", IMAGE, "yes", "x" * 1000,
    )  # fmt: skip
    eventually(lambda: free(on.data_root) < FULL, "the disk is full", patience=120, show=on.log)
    # Everything that is asked is answered, from the full log as well.
    assert call(on, "GET", "/_ping")
    line = on.docker("service", "logs", "--raw", "--tail", "1", "writer", check=False, timeout=60).stdout
    assert re.fullmatch("x+\n?|", line)
    assert {one["Id"] for one in faults.containers(on, "kept")} == {kept}
    assert on.docker("exec", kept, "echo", "here").stdout == "here\n"
    faults.remove(on, "writer")
    eventually(lambda: free(on.data_root) > SIZE // 4, "its log is gone with it", show=on.log)
    eventually(lambda: faults.try_to(partial(create, on, "after", 1)), "etcd is back", patience=60, show=on.log)
    settled(on, {"kept": 1, "after": 1})
    assert {one["Id"] for one in faults.containers(on, "kept")} == {kept}


def test_containers_that_write_to_their_roots_until_the_disk_is_full_are_removed(on: Host) -> None:
    (kept,) = {one["Id"] for one in faults.containers(on, "kept")}
    script = "cat /dev/zero > /big; echo full; exec sleep 1000000"
    create(on, "filler", 2, command=["sh", "-c", script])
    eventually(lambda: free(on.data_root) < FULL, "the disk is full", patience=120, show=on.log)
    assert call(on, "GET", "/_ping")
    faults.try_to(partial(create, on, "late", 1))
    assert {one["Id"] for one in faults.containers(on, "kept")} == {kept}
    faults.remove(on, "filler")
    eventually(lambda: free(on.data_root) > SIZE // 4, "what they wrote is gone with them", show=on.log)
    faults.ensure_running(on)
    eventually(lambda: faults.try_to(partial(create, on, "after", 1)), "etcd is back", patience=60, show=on.log)
    eventually(lambda: len(faults.containers(on, "after")) == 1, "there is room again", patience=120, show=on.log)
    assert {one["Id"] for one in faults.containers(on, "kept")} == {kept}
