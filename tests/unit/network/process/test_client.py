"""shoald's side, with a real network process: started, killed, replaced, stopped."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import shoal
from shoal.errors import NotFound, Unavailable
from shoal.network.gossip import framing
from shoal.network.gossip.config import Config
from shoal.network.gossip.keys import ring
from shoal.network.gossip.messages import DEFAULT_PORT, Ping, encode
from shoal.network.gossip.server import GossipServer
from shoal.network.process import client, connection
from shoal.network.process.client import NetworkProcess
from shoal.network.process.connection import Connection
from shoal.network.process.messages import Message, fields, small
from shoal.network.wanted import Gossip, Key, Overlay, Reached, Wanted
from tests.simulation.airwaves import Listening

NOWHERE = Overlay("n", "blue", ())  # without a subnet nothing of it is made in the kernel, for which one must be root


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[NetworkProcess, list[int]]]:
    pids: list[int] = []
    process = NetworkProcess(folder, "test", pids.append)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(process.run())
        try:
            yield process, pids
        finally:
            task.cancel()


def gone(pid: int) -> None:
    """Wait until a child has ended; its zombie may be left."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def want(process: NetworkProcess, *overlays: Overlay) -> Reached:
    revision = process.next_revision()
    await process.want(Wanted(revision, overlays=overlays))
    async with asyncio.timeout(60):
        return await process.reached(revision)


async def test_it_is_started_outlives_us_and_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / "network"
    async with running(folder) as (process, pids):
        with pytest.raises(Unavailable):
            await process.show("n")
        await want(process)
    assert os.getsid(pids[0]) == pids[0]  # a session of its own
    async with running(folder) as (process, more):
        reached = await want(process, NOWHERE)
        async with asyncio.timeout(60):
            assert (await process.told(reached.revision)).told == reached.revision  # nobody is there to hear it
        assert (await process.show("n"))["endpoints"] == {}
        assert [trouble.network for trouble in process.troubles()] == ["n"]
        layers = await process.examine("n")
        assert (layers["wanted"], layers["endpoints"]) == (None, [])
        assert (await process.counts())["overlays"] == 1
        for ask in (process.show, process.examine):
            with pytest.raises(NotFound, match="network other is not on this node"):
                await ask("other")
        await process.remove()
        # It has ended by then: its cgroup can be removed.
        assert not os.path.exists(f"/proc/{pids[0]}") or "Z (zombie)" in Path(f"/proc/{pids[0]}/status").read_text()
        assert more == []
    assert sorted(os.listdir(folder)) == ["lock"]
    assert (folder.stat().st_mode & 0o777) == 0o700


async def test_killed_it_is_started_again_and_told_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, pids):
        await want(process, NOWHERE)
        os.kill(pids[0], signal.SIGKILL)
        await asyncio.to_thread(gone, pids[0])
        await want(process, NOWHERE)
        assert len(pids) == 2
        assert (await process.show("n"))["endpoints"] == {}
        await process.remove()
        await asyncio.to_thread(gone, pids[1])


async def test_one_that_does_not_listen_is_killed_and_the_next_has_twice_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import os, runpy, sys, time
(_, folder), *_ = [word.split("=") for word in sys.argv if word.startswith("--folder=")]
sys.argv = [sys.argv[0], *sys.argv[2:]]
open(f"{folder}/{os.getpid()}.started", "x")
while len(os.listdir(folder)) < 3:
    time.sleep(60)
runpy.run_module("shoal.network.process.program", run_name="__main__")
"""
    stuck = tmp_path / "stuck.py"
    stuck.write_text(program)
    monkeypatch.setattr(client, "START_TIMEOUT", 0.5)
    pids: list[int] = []
    process = NetworkProcess(tmp_path / "n", "test", pids.append)
    assert process._command[1:3] == ["-P", "-m"]
    process._command[1:3] = ["-P", str(stuck)]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(process.run())
        await want(process)
        *late, serving = pids
        assert len(late) >= 2
        assert process._patience == min(0.5 * 2 ** len(late), client.LONGEST_START)
        assert not any(Path(f"/proc/{pid}").exists() for pid in late)  # reaped, too
        assert Path(f"/proc/{serving}").exists()
        await process.remove()
        await asyncio.to_thread(gone, serving)
        task.cancel()


async def test_one_of_another_version_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as (process, pids):
        await want(process)
        first = await connection.connect(tmp_path)
        hello = await first.receive()
        assert hello is not None
        assert fields(hello) == {"version": shoal.__version__, "pid": pids[0], "changes": True}
    # What it says is read as another version once.
    said = [{"version": "0.0.1", "pid": pids[0]}]
    monkeypatch.setattr(client, "fields", lambda message: said.pop() if said else fields(message))
    with caplog.at_level(logging.INFO):
        async with running(tmp_path) as (process, more):
            await want(process)
            assert more == []  # by exec: it has its pid still
            while await first.receive() is not None:  # but its connections are new
                continue
            assert "of version 0.0.1" in caplog.text
            assert Path(f"/proc/{pids[0]}/cmdline").read_bytes().count(b"--inherit") == 1
            await process.remove()
            await asyncio.to_thread(gone, pids[0])
    await first.close()


def places(*numbers: int) -> list[str]:
    """Return loopback addresses of this test's own: the port is one for all."""
    return [f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.{number}" for number in numbers]


@asynccontextmanager
async def calling(address: str, called: str, keys: tuple[Key, ...]) -> AsyncIterator[GossipServer]:
    """Another node, which has called once. Memberlist calls nobody a second time by itself."""
    async with asyncio.TaskGroup() as group:
        caller = GossipServer(Config("caller", address), address, Listening(), ring(keys))
        running = group.create_task(caller.run())
        await asyncio.sleep(0)
        caller.do(lambda memberlist, now: memberlist.call([(called, DEFAULT_PORT)], now))
        try:
            yield caller
        finally:
            running.cancel()


async def gossiping(process: NetworkProcess, here: str, keys: tuple[Key, ...], caller: GossipServer) -> None:
    """Have the process gossip, and wait until the other node knows it."""
    revision = process.next_revision()
    await process.want(Wanted(revision, Gossip(here, here, here, keys=keys)))
    async with asyncio.timeout(60):
        assert (await process.reached(revision)).troubles == ()
        while caller.memberlist.number_of_members < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


KEYS = tuple(Key("networking:gossip", secrets.token_hex(16), number) for number in (1, 2, 3))


async def test_who_calls_before_the_process_is_there_is_answered_by_it(tmp_path: Path) -> None:
    """A Docker Engine that joins calls once, and then not for a minute."""
    here, there = places(101, 102)
    async with running(tmp_path) as (process, pids):
        process.expect_gossip(here)
        async with calling(there, here, KEYS) as caller:
            _, writer = await asyncio.open_connection(here, DEFAULT_PORT)
            writer.close()
            assert pids == []
            await gossiping(process, here, KEYS, caller)
            await process.remove()
            await asyncio.to_thread(gone, pids[0])


async def test_after_an_upgrade_it_is_the_same_node_in_gossip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = places(103, 104)
    async with running(tmp_path) as (process, pids):
        process.expect_gossip(here)
        async with calling(there, here, KEYS) as caller:
            await gossiping(process, here, KEYS, caller)
            command = Path(f"/proc/{pids[0]}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
            link = await connection.connect(tmp_path)
            await link.send(small("replace", command=command[: command.index("--inherit")]))
            while await link.receive() is not None:
                continue
            await link.close()
            await gossiping(process, here, KEYS, caller)
            # It answers: by stream, whoever asks it by the name that it had.
            (name,) = [member.name for member in caller.memberlist.members()[1:]]
            assert isinstance(caller.memberlist.delegate, Listening)
            assert [event[:2] for event in caller.memberlist.delegate.events] == [("joined", name)]
            ping = framing.seal_stream(caller.memberlist.keyring, encode(Ping(5, name)))
            reader, writer = await asyncio.open_connection(here, DEFAULT_PORT)
            writer.write(ping)
            async with asyncio.timeout(60):
                assert len(await reader.read()) > framing.HEADER
            writer.close()
            await process.remove()
            await asyncio.to_thread(gone, pids[0])


async def test_of_two_that_are_started_at_once_one_serves(tmp_path: Path) -> None:
    async with running(tmp_path) as (one, ones), running(tmp_path) as (other, others):
        # Only the newest of what both want is made, so it is the same.
        wanted = Wanted(max(one.next_revision(), other.next_revision()))
        for process in (one, other):
            await process.want(wanted)
        async with asyncio.timeout(20):
            for process in (one, other):
                await process.reached(wanted.revision)
        (server,) = [pid for pid in (*ones, *others) if serves(pid, tmp_path)]
        for pid in {*ones, *others} - {server}:
            await asyncio.to_thread(gone, pid)  # it found the folder held
        async with asyncio.TaskGroup() as group:
            group.create_task(one.remove())
            group.create_task(other.remove())
        await asyncio.to_thread(gone, server)


@pytest.mark.parametrize(("says", "kinds"), [({"changes": True}, ["wanted", "changed"]), ({}, ["wanted", "wanted"])])
async def test_changes_are_told_to_a_process_that_understands_them(
    tmp_path: Path, says: dict[str, bool], kinds: list[str]
) -> None:
    """One that does not hears all that is wanted each time. A new connection begins with all that is wanted."""
    heard: list[Message] = []
    with connection.listen(tmp_path) as sock:
        async with running(tmp_path) as (process, _):
            for _ in range(2):
                await process.want(Wanted(process.next_revision(), overlays=(NOWHERE,)))
                reader, writer = await asyncio.open_unix_connection(sock=(await loop_accept(sock)))
                link = Connection(reader, writer)
                await link.send(small("hello", version=shoal.__version__, pid=1, **says))
                heard.append(await received(link))
                await process.want(Wanted(process.next_revision(), overlays=(NOWHERE,)))
                heard.append(await received(link))
                await link.close()
    assert [message.kind for message in heard] == kinds * 2


async def loop_accept(sock: socket.socket) -> socket.socket:
    return (await asyncio.get_running_loop().sock_accept(sock))[0]


async def received(link: Connection) -> Message:
    message = await link.receive()
    assert message is not None
    return message


def serves(pid: int, folder: Path) -> bool:
    """Return whether a process has a folder's lock file open."""
    try:
        return str(folder / "lock") in {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    except FileNotFoundError:
        return False
