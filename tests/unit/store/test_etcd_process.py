import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal import spawning
from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import DamagedState, InvalidArgument, MissingProgram, Unavailable
from shoal.paths import Paths
from shoal.store import etcd_process, pace
from shoal.store.etcd_client import CALL_TIMEOUT, EtcdClient
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from tests.unit.store.conftest import QUICK
from tests.unit.store.relay import managers

A, B, C = "a" * 25, "b" * 25, "c" * 25
ELECTED = "raft.node: 1 elected leader 2 at term 3"


def wait_ended(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(60_000), f"process {pid} still runs"
    os.close(handle)


async def wait_started_again(etcd: EtcdProcess, old_pid: int) -> None:
    async with asyncio.timeout(60):
        while etcd.pid in (None, old_pid) or not etcd.serving:  # noqa: ASYNC110 - what any caller could see
            await asyncio.sleep(0.005)


async def wait_serves(socket: Path) -> None:
    """Wait until an etcd that is not ours serves."""
    client = EtcdClient(socket)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    await client.status()
                    return
                except Unavailable:
                    await asyncio.sleep(0.01)
    finally:
        client.close()


def election_ms(etcd: EtcdProcess) -> int:
    """Return for how long the etcd that runs waits for a leader. 0: none runs."""
    try:
        words = Path(f"/proc/{etcd.pid}/cmdline").read_bytes().split(b"\0")
        return int(words[words.index(b"--election-timeout") + 1])
    except (OSError, ValueError):
        return 0


async def wait_election_ms(etcd: EtcdProcess, expected: int) -> None:
    async with asyncio.timeout(60):
        while election_ms(etcd) != expected or not etcd.serving:  # noqa: ASYNC110 - what any caller could see
            await asyncio.sleep(0.005)


def storm(etcd: EtcdProcess) -> None:
    """Let an etcd's log tell of more elections than a healthy swarm holds."""
    for _ in range(pace.ELECTIONS + 1):
        etcd._heed_log(ELECTED)


async def put(etcd: EtcdProcess, key: bytes) -> None:
    """Write until that is acknowledged: an election may come between."""
    request = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"1"))])
    async with asyncio.timeout(60):
        while True:
            try:
                await etcd.client.txn(request)
                return
            except Unavailable:
                await asyncio.sleep(0.01)


def environment_of(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a program whose standard output can be read."""
    return subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_it_serves_on_a_socket_that_nobody_else_can_reach(etcd: EtcdProcess, paths: Paths) -> None:
    assert etcd.serving
    assert etcd.trouble is None
    assert (await etcd.client.status()).leader
    assert etcd.socket.is_socket()
    assert paths.etcd.stat().st_mode & 0o777 == 0o700
    assert etcd.data.stat().st_mode & 0o777 == 0o700


async def test_it_inherits_nothing_of_our_environment(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "another")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    async with EtcdProcess(paths, QUICK) as etcd:
        assert environment_of(etcd.pid) == b""


async def test_it_ends_with_the_context_and_starts_again_on_the_same_data(paths: Paths) -> None:
    async with EtcdProcess(paths, QUICK) as etcd:
        pid, cluster = etcd.pid, (await etcd.client.status()).header.cluster_id
    assert etcd.pid is None
    assert pid is not None
    wait_ended(pid)
    async with EtcdProcess(paths, QUICK) as etcd:
        assert (await etcd.client.status()).header.cluster_id == cluster


async def test_an_error_in_the_body_comes_out_as_it_is(paths: Paths) -> None:
    with pytest.raises(KeyError):
        async with EtcdProcess(paths, QUICK):
            raise KeyError


@pytest.mark.slow
async def test_when_killed_it_is_started_again(etcd: EtcdProcess) -> None:
    for _ in range(3):
        pid = etcd.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await wait_started_again(etcd, pid)
        assert (await etcd.client.status()).leader


@pytest.mark.slow
async def test_after_many_elections_it_is_patient_and_after_a_calm_time_quick_again(paths: Paths) -> None:
    told: list[bool] = []
    async with EtcdProcess(paths, QUICK, paced=told.append) as etcd:
        await put(etcd, b"x")
        storm(etcd)
        await wait_election_ms(etcd, QUICK.slow().election_ms)
        assert etcd.trouble is None
        assert told == [True]
        assert etcd.client.patience > CALL_TIMEOUT
        etcd._pace._calm = 0.0
        etcd._elected.set()
        await wait_election_ms(etcd, QUICK.election_ms)
        assert told == [True, False]
        assert (await etcd.client.range(pb.RangeRequest(key=b"x"))).count == 1
        assert etcd.client.patience == CALL_TIMEOUT


@pytest.mark.slow
async def test_an_etcd_that_is_just_being_started_gets_the_new_pace_too(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, starts = spawning.start, 0

    async def start_late(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        nonlocal starts
        starts += 1
        if starts == 2:  # it ended by itself, and its flags are chosen already
            await etcd._repace()
        return await begin(*command, **options)

    monkeypatch.setattr(spawning, "start", start_late)
    async with EtcdProcess(paths, QUICK) as etcd:
        etcd._pace.is_slow = True
        etcd._pace._elections.append(asyncio.get_running_loop().time())
        assert etcd.pid is not None
        os.kill(etcd.pid, signal.SIGKILL)
        await wait_election_ms(etcd, QUICK.slow().election_ms)


@pytest.mark.slow
async def test_it_is_started_anew_only_while_the_others_are_there(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_process, "PACE_LOOKS", 0.01)
    asked, there = asyncio.Event(), False

    def are_there() -> bool:
        asked.set()
        return there

    async with EtcdProcess(paths, QUICK, are_there=are_there) as etcd:
        pid = etcd.pid
        storm(etcd)
        async with asyncio.timeout(60):
            await asked.wait()
        assert etcd.pid == pid
        there = True
        await wait_election_ms(etcd, QUICK.slow().election_ms)


@pytest.mark.slow
async def test_a_swarm_becomes_patient_one_manager_after_the_other_and_goes_on_meanwhile(tmp_path: Path) -> None:
    """Some are patient already and others are not: whoever leads, all agree on it, and writes are taken."""
    async with managers(tmp_path, A, B, C) as cluster:
        for number, node_id in enumerate((A, B, C)):
            storm(cluster.etcds[node_id])
            await wait_election_ms(cluster.etcds[node_id], 2400)
            assert [election_ms(etcd) for etcd in cluster.etcds.values()].count(2400) == number + 1
            for by in (A, B, C):
                await cluster.leader()  # all agree on it
                await put(cluster.etcds[by], f"{node_id}{by}".encode())
        found = await cluster.etcds[A].client.range(pb.RangeRequest(key=b"a", range_end=b"d"))
        assert found.count == 9


async def test_two_on_one_folder_are_refused(etcd: EtcdProcess, paths: Paths) -> None:
    with pytest.raises(Unavailable, match="two cannot share a data root"):
        async with EtcdProcess(paths, QUICK):
            pass
    assert (await etcd.client.status()).leader


@pytest.mark.slow
async def test_it_dies_with_a_daemon_that_is_killed_and_the_next_one_starts(paths: Paths) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from shoal.paths import Paths
from shoal.store.etcd_process import EtcdProcess

async def main():
    async with EtcdProcess(Paths(Path(sys.argv[1]), Path(sys.argv[2]))) as etcd:
        print(etcd.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    arguments = [sys.executable, "-c", program, str(paths.data_root), str(paths.exec_root)]
    with start(arguments, paths.data_root.parent) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
    wait_ended(pid)
    async with EtcdProcess(paths, QUICK) as etcd:
        assert (await etcd.client.status()).leader


async def test_a_leftover_on_the_folder_is_ended_first(paths: Paths) -> None:
    async with EtcdProcess(paths, QUICK) as etcd:
        arguments = etcd._arguments()
    program = shutil.which("etcd")
    assert program is not None
    for socket in (paths.etcd / "localhost:1", paths.etcd / "localhost:2"):
        socket.unlink(missing_ok=True)
    with start([program, *arguments], paths.etcd) as leftover:
        # Before, not even its arguments can be read for a moment after it has been started.
        await wait_serves(etcd.socket)
        async with EtcdProcess(paths, QUICK) as etcd:
            assert -leftover.wait() in (signal.SIGTERM, signal.SIGKILL)  # the second on a slow host
            assert etcd.pid != leftover.pid
            assert (await etcd.client.status()).leader


def _records(log: bytes | bytearray) -> Iterator[range]:
    """Return the places of the records in etcd's log. Source of the frame: etcd wal/decoder.go (`decodeFrameSize`)."""
    at = 0
    while frame := int.from_bytes(log[at : at + 8], "little"):
        length, padding = frame & (1 << 56) - 1, frame >> 56 & 7
        yield range(at + 8, at + 8 + length)
        at += 8 + length + padding


@pytest.mark.slow
async def test_damaged_data_is_named_and_left_as_it_is(paths: Paths) -> None:
    async with EtcdProcess(paths, QUICK) as etcd:
        await etcd.client.status()
    (log,) = etcd.data.glob("member/wal/0*.wal")
    damaged = bytearray(log.read_bytes()[:100_000])
    # Inside a record, because if a length goes beyond the file, etcd believes that the file was cut short, and forgets
    # the rest.
    record = max(_records(damaged), key=len)
    damaged[record.start : record.stop] = b"\xff" * len(record)
    with log.open("r+b") as file:
        file.write(damaged)
    with pytest.raises(DamagedState, match="swarm/etcd is damaged") as refused:
        async with EtcdProcess(paths, QUICK):
            pass
    assert refused.value.path == str(etcd.data)
    assert log.read_bytes()[:100_000] == damaged


async def test_a_record_that_is_none_is_damage(paths: Paths) -> None:
    """etcd 3.5 does not panic because of it, as 3.4 does, but says "proto: ..."."""
    async with EtcdProcess(paths, QUICK) as etcd:
        await etcd.client.status()
    (log,) = etcd.data.glob("member/wal/0*.wal")
    damaged = bytearray(log.read_bytes())
    damaged[8:10] = b"\xff\xff"  # the first field of the first record
    log.write_bytes(damaged)
    with pytest.raises(DamagedState, match="swarm/etcd is damaged"):
        async with EtcdProcess(paths, QUICK):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("kept_bytes", [100, 3000], ids=["all of it", "its end"])
async def test_a_log_that_was_cut_short_is_named(paths: Paths, kept_bytes: int) -> None:
    async with EtcdProcess(paths, QUICK) as etcd:
        for number in range(50):
            put = pb.RequestOp(request_put=pb.PutRequest(key=b"key%d" % number, value=bytes(200)))
            await etcd.client.txn(pb.TxnRequest(success=[put]))
    (log,) = (paths.swarm / "etcd/member/wal").glob("*.wal")
    whole = log.read_bytes()
    assert len(whole.rstrip(b"\0")) > 2 * kept_bytes
    log.write_bytes(whole[:kept_bytes])
    with pytest.raises(DamagedState, match=r"swarm/etcd is damaged: the log in member/wal ends before"):
        async with EtcdProcess(paths, QUICK):
            pass
    log.write_bytes(whole)
    async with EtcdProcess(paths, QUICK) as etcd:
        assert (await etcd.client.status()).header.revision == 51


@pytest.mark.root
async def test_a_full_disk_is_named(tiny_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"etcd cannot write to .*: no space left on device"):
        async with EtcdProcess(Paths(tiny_disk, tmp_path / "exec"), QUICK):
            pass


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingProgram, match="install the package etcd-server"):
        etcd_process._found("etcd-that-nobody-has", "etcd-server")


def test_a_configuration_that_etcd_refuses_is_refused_before() -> None:
    with pytest.raises(InvalidArgument, match="election_ms"):
        EtcdConfig(heartbeat_ms=100, election_ms=200)


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (b'{"level":"warn","msg":"slow","error":"disk"}', 30, "slow: disk"),
        (b'{"level":"warn","msg":"simple token is not cryptographically signed"}', 10, None),
        (b'{"level":"fatal","msg":"discovery failed","error":"walpb: crc mismatch"}', 30, "walpb: crc mismatch"),
        (
            b'{"level":"warn","caller":"rafthttp/stream.go:266",'
            b'"msg":"established TCP streaming connection with remote peer"}',
            10,
            None,
        ),
        (b"panic: no", 30, "panic: no"),
        (b"goroutine 1 [running]:", 10, None),
        (b"[1]", 10, None),
    ],
)
def test_lines_of_the_log_are_sorted_by_who_should_see_them(line: bytes, level: int, text: str | None) -> None:
    found = etcd_process._parsed(line)
    assert found[0] == level
    assert text is None or found[1] == text
