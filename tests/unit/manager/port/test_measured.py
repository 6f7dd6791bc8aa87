import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.api.gen.logbroker_grpc import LogBrokerStub
from shoal.manager.port.allowances import Bucket, Rate
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, guarded
from shoal.manager.port.labour import LABOUR, Account
from shoal.manager.port.measured import measured

WORKER = Caller("w1", api.WORKER, "c1", "10.0.0.2:5")
MANAGER = Caller("m1", api.MANAGER, "c1", "10.0.0.1:5")
MANY = 2_000_000


class Dispatcher:
    """Answers reports, and lines of logs."""

    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.work = work
        self.seen: list[int] = []

    async def report(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.seen.append(len(request.updates))
        self.work()
        await stream.send_message(api.UpdateTaskStatusResponse())

    async def publish(self, stream: Any) -> None:
        async for message in stream:
            self.seen.append(len(message.messages))
        await stream.send_message(api.PublishLogsResponse())

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/docker.swarmkit.v1.Dispatcher/UpdateTaskStatus": Handler(
                self.report, Cardinality.UNARY_UNARY, api.UpdateTaskStatusRequest, api.UpdateTaskStatusResponse
            ),
            "/docker.swarmkit.v1.LogBroker/PublishLogs": Handler(
                self.publish, Cardinality.STREAM_UNARY, api.PublishLogsMessage, api.PublishLogsResponse
            ),
        }


@asynccontextmanager
async def served(dispatcher: Dispatcher, caller: Caller = WORKER) -> AsyncIterator[Any]:
    async with ChannelFor(guarded([dispatcher], as_caller(caller))) as channel:
        yield channel


def statuses(count: int) -> api.UpdateTaskStatusRequest:
    request = api.UpdateTaskStatusRequest()
    request.MergeFromString(b"\x1a\x00" * count)
    return request


def lines(count: int) -> api.PublishLogsMessage:
    message = api.PublishLogsMessage()
    message.MergeFromString(b"\x12\x00" * count)
    return message


async def test_a_report_of_two_million_empty_parts_is_refused_unread() -> None:
    dispatcher = Dispatcher()
    async with served(dispatcher) as channel:
        with pytest.raises(GRPCError, match="parts") as caught:
            await DispatcherStub(channel).UpdateTaskStatus(statuses(MANY))
        await DispatcherStub(channel).UpdateTaskStatus(statuses(1000))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert dispatcher.seen == [1000]


async def test_so_are_two_million_empty_lines_of_a_log() -> None:
    dispatcher = Dispatcher()
    async with served(dispatcher) as channel:
        with pytest.raises(GRPCError, match="parts"):
            await LogBrokerStub(channel).PublishLogs([lines(3), lines(MANY)])
    assert dispatcher.seen == [3]


async def test_other_work_has_its_turn_while_a_messages_parts_are_counted() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with served(Dispatcher()) as channel, asyncio.TaskGroup() as group:
        child = group.create_task(others())
        with pytest.raises(GRPCError):
            await DispatcherStub(channel).UpdateTaskStatus(statuses(MANY))
        child.cancel()
    assert turns > 20


def busy(clock: list[float], seconds: float) -> Callable[[], None]:
    def work() -> None:
        clock[0] += seconds

    return work


async def test_a_node_that_works_its_managers_too_hard_waits_and_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("shoal.manager.port.measured.measured.__defaults__", (lambda: clock[0],))
    dispatcher = Dispatcher(busy(clock, LABOUR.burst + 100))
    async with ChannelFor(guarded([dispatcher], as_caller(WORKER))) as channel:
        await DispatcherStub(channel).UpdateTaskStatus(statuses(1))
        with pytest.raises(GRPCError, match="node w1 makes its managers work more than its share") as caught:
            await DispatcherStub(channel).UpdateTaskStatus(statuses(1))
    assert caught.value.status is Status.UNAVAILABLE
    assert len(dispatcher.seen) == 1


async def test_a_manager_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("shoal.manager.port.measured.measured.__defaults__", (lambda: clock[0],))
    dispatcher = Dispatcher(busy(clock, LABOUR.burst + 100))
    async with served(dispatcher, MANAGER) as channel:
        for _ in range(3):
            await DispatcherStub(channel).UpdateTaskStatus(statuses(300_000))
    assert dispatcher.seen == [300_000] * 3


async def test_a_short_wait_is_waited_but_not_by_more_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("shoal.manager.port.measured.measured.__defaults__", (lambda: clock[0],))
    monkeypatch.setattr("shoal.manager.port.measured.HELD_BYTES", 50_000)
    dispatcher = Dispatcher(busy(clock, LABOUR.burst + 0.5))
    async with served(dispatcher) as channel:
        await DispatcherStub(channel).UpdateTaskStatus(statuses(1))
        with pytest.raises(GRPCError, match="than its share"):
            await DispatcherStub(channel).UpdateTaskStatus(statuses(50_000))
        began = asyncio.get_running_loop().time()
        await DispatcherStub(channel).UpdateTaskStatus(statuses(2))
        assert asyncio.get_running_loop().time() - began > 0.1
    assert dispatcher.seen == [1, 2]


async def test_a_stream_waits_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("shoal.manager.port.measured.measured.__defaults__", (lambda: clock[0],))
    monkeypatch.setattr("shoal.manager.port.measured.LONGEST_WAIT", 0.001)
    dispatcher = Dispatcher(busy(clock, LABOUR.burst + 0.05))
    async with served(dispatcher) as channel:
        await DispatcherStub(channel).UpdateTaskStatus(statuses(1))
        with pytest.raises(GRPCError, match="than its share"):
            await DispatcherStub(channel).UpdateTaskStatus(statuses(2))
        await LogBrokerStub(channel).PublishLogs([lines(3)])
    assert dispatcher.seen == [1, 3]


def account() -> Account:
    return Account("node a", Bucket(Rate(1.0, 0.1), asyncio.get_running_loop().time()))


async def test_each_step_is_counted_and_what_others_do_meanwhile_is_not() -> None:
    clock, held = [0.0], account()

    async def work() -> None:
        clock[0] += 2.0
        await asyncio.sleep(0)
        clock[0] += 3.0

    async def call() -> None:
        await measured(work(), held, lambda: clock[0])

    async def others() -> None:
        clock[0] += 1000.0

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        group.create_task(others())
    assert held.wait(asyncio.get_running_loop().time()) == pytest.approx((5.0 - 1.0) / 0.1, rel=0.1)


async def test_failures_and_cancellations_reach_the_work_and_come_out() -> None:
    seen: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    async def waits() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(ValueError, match="mine"):
        await measured(fails(), account())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await measured(waits(), account())
    assert seen == ["cancelled"]
