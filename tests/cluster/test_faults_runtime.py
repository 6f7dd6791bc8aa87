"""Runtimes and monitors that die or hang at the worst moment, one container at a time."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.host import programs
from shoal.runtime import conmon, layers, processes
from shoal.runtime.exec import Execs
from shoal.runtime.oci_runtime import OciRuntime
from shoal.runtime.types import ExecConfig
from tests.cluster.runtime_site import Site, config, until
from tests.cluster.test_runtime_containers import site as runtime_site
from tests.harness.hosts import eventually, patient

pytestmark = pytest.mark.root
site = runtime_site

BEGINNING = bytes(512 * 1024)

# As when crun is killed after the container's first process waits to be started: that process holds conmon's pipe.
KILLED_LATE = """#!/bin/sh
cd ${0%/*}/b
unshare --pid --fork sh -c 'echo $$ >"$0"; exec sleep 1000000' inside & outer=$!
while [ ! -s inside ]; do sleep 0.01; done
pgrep -P $outer > outside
kill -9 $outer
kill -9 $$
"""


def test_runtime_killed_after_it_made_the_first_process_is_noticed(tmp_path: Path) -> None:
    program = tmp_path / "crun"
    program.write_text(KILLED_LATE)
    program.chmod(0o755)
    bundle = tmp_path / "b"
    bundle.mkdir()
    (bundle / "config.json").write_text("{}")
    runtime = OciRuntime("crun", str(program), tmp_path)
    begun = time.monotonic()
    with pytest.raises(ShoalError, match="ended before it had made the container"):
        conmon.launch(programs.find("conmon"), runtime, conmon.Launch("c" * 64, bundle, str(bundle / "log"), "sleep"))
    assert time.monotonic() - begun < patient(10)
    pid = conmon.read_number(bundle / "conmon.pid")
    assert pid
    eventually(lambda: not processes.started(pid), "conmon has ended")
    processes.send(int((bundle / "outside").read_text()), 0, 9)


async def test_unpacker_that_is_killed_is_told_by_its_signal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield BEGINNING
        for child in processes.children(os.getpid()):
            if b"unpack_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
        for _ in range(1000):
            yield bytes(65536)

    with pytest.raises(ShoalError, match="unpacking failed: its process ended with signal 9"):
        await layers.unpack(endless(), tmp_path, "layer")
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("tty", [False, True])
async def test_exec_whose_client_goes_during_its_start_is_read_to_its_end(site: Site, tty: bool) -> None:
    async with site.containers() as containers:
        await containers.create(config("one"))
        await containers.start("one")
        execs = Execs(containers)
        before = len(os.listdir("/proc/self/fd"))
        settings = ExecConfig(
            command=("sh", "-c", "yes | head -c 100000"), tty=tty, attach_stdout=True, attach_stderr=True
        )
        for turns in range(1, 12):  # at whatever point the start is
            id_ = execs.create("one", settings)
            async with asyncio.TaskGroup() as group:
                child = group.create_task(execs.start(id_))
                for _ in range(turns):
                    await asyncio.sleep(0.002)
                if child.done():
                    await child.result().close()
                child.cancel()
        await until(lambda: not execs.ids_of(containers.get("one").id), within=20)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
