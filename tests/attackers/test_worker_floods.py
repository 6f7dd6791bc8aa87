"""A worker never stops sending. Its managers' disks, memory and logs stay small, and others are served."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import NodeCAStub
from shoal.ca.csr import make_csr, new_key
from shoal.manager.dispatcher.sessions import CHANGE_LIMIT
from tests.harness.hosts import patient
from tests.harness.stolen_worker import (
    TIMEOUT,
    Speaker,
    StolenWorker,
    disk_bytes,
    etcd_of,
    get,
    memory_bytes,
    stolen_worker,
)

pytestmark = pytest.mark.root

FOR = 5.0  # seconds of a flood
AT_ONCE = 10
DISK = 64 << 20
MEMORY = 100 << 20
LOG = 64 << 10
CSR = make_csr(new_key())


@pytest.fixture(scope="module")
def made() -> Iterator[StolenWorker]:
    with stolen_worker("flooding") as position:
        yield position


@pytest.fixture
def worker(made: StolenWorker) -> Iterator[StolenWorker]:
    manager = made.manager
    disk, log = disk_bytes(manager), manager.log_file.stat().st_size
    memory = memory_bytes(manager.pid), memory_bytes(etcd_of(manager))
    yield made
    made.check()
    began = time.monotonic()
    made.check_changes()
    assert time.monotonic() - began < patient(10)
    assert disk_bytes(manager) - disk < DISK
    assert manager.log_file.stat().st_size - log < LOG
    assert memory_bytes(manager.pid) - memory[0] < MEMORY
    assert memory_bytes(etcd_of(manager)) - memory[1] < MEMORY


async def describe(speaker: Speaker, description: api.NodeDescription) -> Status:
    """Register once more with the live session. Returns the manager's answer."""
    request = api.SessionRequest(description=description, session_id=speaker.session_id)
    try:
        async with speaker.dispatcher.Session.open(timeout=TIMEOUT) as stream:
            await stream.send_message(request, end=True)
            if await stream.recv_message() is not None:
                await stream.cancel()
                return Status.OK
            await stream.recv_trailing_metadata()
    except GRPCError as error:
        return error.status
    except StreamTerminatedError:
        return Status.CANCELLED
    return Status.UNKNOWN


def describe_often(worker: StolenWorker, size_bytes: int, a_second: int) -> Counter[Status]:
    """Send new descriptions of the node, this often and this large, for a while."""

    async def story(speaker: Speaker) -> Counter[Status]:
        async def one(number: int) -> None:
            await asyncio.sleep(number / a_second)
            async with room:
                if time.monotonic() < end:  # a busy machine does not send all of it
                    description = api.NodeDescription(hostname=f"{number:09d}" + "x" * (size_bytes - 9))
                    told[await describe(speaker, description)] += 1

        told: Counter[Status] = Counter()
        room, end = asyncio.Semaphore(AT_ONCE), time.monotonic() + 2 * FOR
        async with asyncio.TaskGroup() as group:
            for number in range(int(FOR * a_second)):
                group.create_task(one(number))
        return told

    return worker.play(story)


def test_descriptions_of_more_than_a_megabyte_forty_times_a_second_are_all_refused(worker: StolenWorker) -> None:
    told = describe_often(worker, 1_300_000, 40)
    assert set(told) == {Status.RESOURCE_EXHAUSTED}
    assert told.total() > 50


def test_descriptions_that_may_be_are_written_a_few_times_in_a_while(worker: StolenWorker) -> None:
    told = describe_often(worker, 60_000, 40)
    assert 1 <= told[Status.OK] <= CHANGE_LIMIT
    assert set(told) <= {Status.OK, Status.UNAVAILABLE}
    assert told.total() > 50


def test_reports_without_end_are_written_at_a_bounded_rate(worker: StolenWorker) -> None:
    async def story(speaker: Speaker) -> Counter[str]:
        told: Counter[str] = Counter()
        end = time.monotonic() + FOR

        async def talk(who: int) -> None:
            number = 0
            while time.monotonic() < end:
                number += 1
                status = api.TaskStatus(state=api.RUNNING, message=f"{who} {number}", err="e" * 1_000_000)
                try:
                    await speaker.report(worker.own_id, status)
                    told["taken"] += 1
                except GRPCError as error:
                    told[error.status.name] += 1
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for who in range(8):
                group.create_task(talk(who))
        return told

    told = worker.play(story)
    assert told["taken"] > 1
    assert set(told) <= {"taken", "UNAVAILABLE"}


def test_fifty_thousand_bad_reports_are_a_few_lines_of_log(worker: StolenWorker) -> None:
    status = api.TaskStatus(state=api.ORPHANED)

    async def story(speaker: Speaker) -> None:
        request = api.UpdateTaskStatusRequest(session_id=speaker.session_id)
        for _ in range(1000):
            request.updates.add(task_id=worker.own_id, status=status)
        for _ in range(50):
            await speaker.dispatcher.UpdateTaskStatus(request, timeout=TIMEOUT)

    before = worker.manager.log().count("\n")
    worker.play(story)
    assert worker.manager.log().count("\n") - before < 20


def filled(message: Message, part: bytes) -> Any:
    """Return a message with this part in it as often as four mebibytes hold it."""
    message.MergeFromString(part * ((4 << 20) // len(part) - 100))
    return message


def test_messages_of_two_million_parts_leave_the_manager_time_for_others(worker: StolenWorker) -> None:
    bodies = [
        ("UpdateTaskStatus", filled(api.UpdateTaskStatusRequest(), b"\x1a\x00")),  # statuses of nothing
        ("UpdateTaskStatus", filled(api.UpdateTaskStatusRequest(), b"\x1a\x02\x12\x00")),
        ("Session", api.SessionRequest(description=filled(api.NodeDescription(), b"\x22\x02\x1a\x00"))),
        ("Heartbeat", filled(api.HeartbeatRequest(), b"\xf8\x01\x00")),  # fields that nobody knows
    ]

    async def story(speaker: Speaker) -> tuple[Counter[str], list[float]]:
        told: Counter[str] = Counter()
        waits: list[float] = []
        end = time.monotonic() + FOR

        async def talk(method: str, body: Any) -> None:
            while time.monotonic() < end:
                try:
                    call = getattr(speaker.dispatcher, method)
                    if method == "Session":
                        async with call.open(timeout=TIMEOUT) as stream:
                            await stream.send_message(body, end=True)
                            await stream.recv_message()
                            await stream.recv_trailing_metadata()
                    else:
                        await call(body, timeout=TIMEOUT)
                    told["taken"] += 1
                except GRPCError as error:
                    told[error.status.name] += 1

        async def look() -> None:
            while time.monotonic() < end:
                began = time.monotonic()
                assert (await asyncio.to_thread(get, worker.manager, "/nodes"))[0] == 200
                waits.append(time.monotonic() - began)

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            for method, body in bodies * 2:
                group.create_task(talk(method, body))
        return told, waits

    told, waits = worker.play(story)
    assert told.total() > 4
    assert set(told) <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"}
    assert told["RESOURCE_EXHAUSTED"]
    assert max(waits) < patient(2)


def test_a_node_that_renews_its_certificate_without_end_is_refused(worker: StolenWorker) -> None:
    async def story(speaker: Speaker) -> Counter[str]:
        told: Counter[str] = Counter()
        stub = NodeCAStub(speaker.channel)
        end = time.monotonic() + FOR
        while time.monotonic() < end and told.total() < 500:  # of 2,000 a connection is closed
            try:
                await stub.IssueNodeCertificate(api.IssueNodeCertificateRequest(csr=CSR), timeout=TIMEOUT)
                told["taken"] += 1
            except GRPCError as error:
                told[error.status.name] += 1
        return told

    told = worker.play(story)
    assert told["taken"] <= 60
    assert set(told) <= {"taken", "RESOURCE_EXHAUSTED"}
    assert told["RESOURCE_EXHAUSTED"] or told["taken"] < 50  # a machine that is very slow sends no more
