"""Mounts of volumes, with a program that does not end until a test lets it."""

import asyncio
import stat
import time
import traceback
from pathlib import Path

import pytest

from shoal.errors import Conflict, ShoalError
from shoal.host import programs
from shoal.paths import Paths
from shoal.runtime import volume_mounts
from shoal.runtime.volumes import Volumes

NFS = {"type": "nfs", "device": ":/x", "o": "addr=192.0.2.1"}


class Server:
    """A file server: `mount` ends when it answers."""

    def __init__(self, folder: Path) -> None:
        self.answers = folder / "answers"
        self.asked = folder / "asked"
        self.program = folder / "mount"
        self.program.write_text(
            f"#!/bin/sh\necho x >> {self.asked}\nwhile ! [ -e {self.answers} ]; do sleep 0.02; done\n"
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    async def wait_asked(self, times: int) -> None:
        deadline = time.monotonic() + 60
        while not self.asked.exists() or len(self.asked.read_text().splitlines()) < times:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(tmp_path)
    monkeypatch.setattr(programs, "find", lambda name: str(made.program))
    return made


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(Paths(tmp_path / "data", tmp_path / "exec"))


async def test_file_servers_that_do_not_answer_stop_nothing_else(volumes: Volumes, server: Server) -> None:
    names = [f"data{number}" for number in range(12)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            await volumes.create(name, "local", NFS)
            volumes.hold(name, "c1")
            group.create_task(volumes.mount(name))
        await server.wait_asked(len(names))
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(lambda: 7) == 7
            await volumes.create("other")
        server.answers.touch()


async def test_a_server_that_never_answers_is_given_up(
    volumes: Volumes, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_mounts, "MOUNT_TIMEOUT", 0.05)
    await volumes.create("data", "local", {**NFS, "o": f"{NFS['o']},password=canary"})
    volumes.hold("data", "c1")
    with pytest.raises(ShoalError, match=r"failed to mount local volume: .*timed out") as raised:
        await volumes.mount("data")
    assert "canary" not in "".join(traceback.format_exception(raised.value))


async def test_who_no_longer_waits_for_a_mount_holds_nobody_up(volumes: Volumes, server: Server) -> None:
    await volumes.create("data", "local", NFS)
    volumes.hold("data", "c1")
    child = asyncio.ensure_future(volumes.mount("data"))  # noqa: TID251 - to be cancelled
    await server.wait_asked(1)
    child.cancel()
    await asyncio.wait([child])
    volumes.release("data", "c1")
    volumes.hold("data", "c2")
    with pytest.raises(Conflict):
        await volumes.remove("data")
    async with asyncio.TaskGroup() as group:
        group.create_task(volumes.mount("data"))  # after the first one, and not beside it
        await asyncio.sleep(0)
        assert server.asked.read_text() == "x\n"
        server.answers.touch()
    assert server.asked.read_text() == "x\nx\n"
    volumes.release("data", "c2")
    await volumes.remove("data")


async def test_a_volume_is_not_removed_while_its_mount_may_still_come(
    volumes: Volumes, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await volumes.create("data", "local", NFS)
    child = asyncio.ensure_future(volumes.mount("data"))  # noqa: TID251 - looked at below
    await server.wait_asked(1)
    removal = asyncio.ensure_future(volumes.remove("data"))  # noqa: TID251
    await asyncio.sleep(0.05)
    assert not removal.done()
    server.answers.touch()
    await child
    await removal
    assert volumes.list() == []
