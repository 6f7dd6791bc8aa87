import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogBrokerStub, LogsStub
from shoal.errors import InvalidArgument, ResourceExhausted, ShoalError
from shoal.manager.forwarding.services import LogsService
from shoal.manager.logs.broker import Share
from shoal.manager.logs.server import NODE_BYTES, READER_BYTES, LogBrokerServer, Logs
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.store.changes import copy
from shoal.store.store import Store
from tests.unit.manager.logs.test_broker import publish, request, task
from tests.unit.manager.stores import MemoryStore

NODE = Caller("n1", api.WORKER, "c", "10.0.0.1:1")
CLIENT = Caller("m1", api.MANAGER, "c", "10.0.0.2:1")


class World:
    """A running broker, a store with one task on n1, and clients over gRPC."""

    def __init__(self, store: MemoryStore, logs: Logs) -> None:
        self.store = store
        self.logs = logs

    @asynccontextmanager
    async def node(self) -> AsyncIterator[LogBrokerStub]:
        service = LogBrokerServer(self.logs, caller=current_caller)
        async with ChannelFor(guarded([service], as_caller(NODE))) as channel:
            yield LogBrokerStub(channel)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[LogsStub]:
        async with ChannelFor(guarded([LogsService(lambda: self.logs)], as_caller(CLIENT))) as channel:
            yield LogsStub(channel)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = MemoryStore([task("t1", "n1")])
    ids = iter(f"s{number}" for number in range(1, 9))
    logs = Logs(cast(Store, store), fresh_id=lambda: next(ids))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(logs.run())
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            yield World(store, logs)
        running.cancel()


async def lines(world: World, follow: bool = False) -> list[bytes]:
    async with aclosing(world.logs.subscribe_logs(request(follow, service_ids=["web"]))) as messages:
        return [line.data async for message in messages for line in message.messages]


async def test_a_nodes_lines_reach_the_reader_to_their_end(world: World) -> None:
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(lines(world))
            told = await listening.recv_message()
            assert told is not None
            assert (told.id, list(told.selector.service_ids), told.close) == ("s1", ["web"], False)
            async with node.PublishLogs.open() as publishing:
                for _ in range(3):
                    await publishing.send_message(publish("s1"))
                await publishing.send_message(publish("s1", close=True), end=True)
                assert await publishing.recv_message() == api.PublishLogsResponse()
        assert reading.result() == [b"x\n"] * 3
        await listening.cancel()


async def test_a_reader_that_goes_ends_it_at_the_node(world: World) -> None:
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        async with world.reader() as reader, reader.SubscribeLogs.open() as reading:
            await reading.send_message(request(True, service_ids=["web"]), end=True)
            told = await listening.recv_message()
            assert told is not None
            await reading.cancel()
        told = await listening.recv_message()
        assert told is not None
        assert (told.id, told.close) == ("s1", True)
        await listening.cancel()


async def test_following_extends_to_a_task_that_comes_later(world: World) -> None:
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        messages = world.logs.subscribe_logs(request(True, service_ids=["later"]))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(anext(messages))
            await asyncio.sleep(0)
            fresh = task("t2", service_id="later", state=api.NEW)
            await world.store.update(lambda transaction: transaction.create(fresh))
            found = world.store.view().tasks.get("t2")
            assert found is not None
            assigned = copy(found)
            assigned.node_id = "n1"
            await world.store.update(lambda transaction: transaction.update(assigned))
            told = await listening.recv_message()
            assert told is not None
            async with node.PublishLogs.open() as publishing:
                await publishing.send_message(publish(told.id, task_id="t2"))
                assert (await first).messages[0].data == b"x\n"
                await publishing.cancel()
        await messages.aclose()
        told = await listening.recv_message()
        assert told is not None
        assert told.close
        await listening.cancel()


async def test_what_is_missing_is_said_at_the_end(world: World) -> None:
    async with world.reader() as reader:
        with pytest.raises(GRPCError) as caught:
            await reader.SubscribeLogs(request(service_ids=["web"]))
    assert caught.value.status is Status.UNKNOWN
    assert (caught.value.message or "").endswith("reasons: node n1 is not available")


async def test_a_node_that_breaks_off_is_named(world: World) -> None:
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        messages = world.logs.subscribe_logs(request(service_ids=["web"]))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(anext(messages))
            assert await listening.recv_message() is not None
            async with node.PublishLogs.open() as publishing:
                await publishing.send_message(publish("s1"))
                await first
                await publishing.cancel()
        with pytest.raises(ShoalError, match="node n1 disconnected unexpectedly"):
            await anext(messages)
        await listening.cancel()


async def test_a_node_that_speaks_for_another_is_refused(world: World) -> None:
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        messages = world.logs.subscribe_logs(request(service_ids=["web"]))
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(_ending(messages))
            assert await listening.recv_message() is not None
            with pytest.raises(GRPCError) as caught:
                await node.PublishLogs([publish("s1"), publish("s1", "n2")])
        assert (caught.value.status, caught.value.message) == (
            Status.PERMISSION_DENIED,
            "invalid NodeID: expected=n1;received=n2",
        )
        assert ended.result().endswith("reasons: invalid NodeID: expected=n1;received=n2")
        await listening.cancel()


async def _ending(messages: AsyncIterator[api.SubscribeLogsMessage]) -> str:
    try:
        async for _ in messages:
            pass
    except ShoalError as error:
        return str(error)
    return ""


async def test_a_slow_reader_holds_up_its_node_and_loses_nothing(world: World) -> None:
    big = publish("s1")
    big.messages[0].data = b"y" * (READER_BYTES // 4)
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        messages = world.logs.subscribe_logs(request(service_ids=["web"]))
        sent = 0

        async def send() -> None:
            nonlocal sent
            async with node.PublishLogs.open() as publishing:
                for _ in range(60):
                    await publishing.send_message(big)
                    sent += 1
                await publishing.send_message(publish("s1", close=True), end=True)
                await publishing.recv_message()

        async with asyncio.TaskGroup() as group:
            first = group.create_task(anext(messages))
            assert await listening.recv_message() is not None
            group.create_task(send())
            await first
            for _ in range(2000):  # the node sends as much as it can
                await asyncio.sleep(0)
            assert sent < 60
            got = 1 + sum([1 async for _ in messages])
        assert got == 60
        await listening.cancel()


async def test_what_waits_of_one_node_on_many_streams_is_bounded(world: World) -> None:
    big = publish("s1")
    big.messages[0].data = b"y" * (NODE_BYTES // 4)
    async with world.node() as node, node.ListenSubscriptions.open() as listening:
        await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
        await listening.recv_initial_metadata()
        messages = world.logs.subscribe_logs(request(service_ids=["web"]))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(anext(messages))
            assert await listening.recv_message() is not None
            await world.logs.publish(big, Share("n1"))
            await first
            await world.logs.publish(big, Share("n1"))  # the reader may have so much before it
            waiting = [group.create_task(world.logs.publish(big, Share("n1"))) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(ResourceExhausted, match="64 MiB of lines of node n1 wait"):
                await world.logs.publish(big, Share("n1"))
            assert not any(each.done() for each in waiting)
            await messages.aclose()
        await listening.cancel()


async def test_nothing_is_served_before_and_after_the_term() -> None:
    logs = Logs(cast(Store, MemoryStore([task("t1", "n1")])))
    with pytest.raises(ShoalError, match=r"^broker is not running$"):
        await anext(logs.subscribe_logs(request(task_ids=["t1"])))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(logs.run())
        await asyncio.sleep(0)
        listening = group.create_task(_told(logs))
        reading = group.create_task(_ending(logs.subscribe_logs(request(True, task_ids=["t1"]))))
        await asyncio.sleep(0)
        running.cancel()
    assert reading.result() == "broker is not running"
    assert listening.result() == "broker is not running"


async def _told(logs: Logs) -> str:
    try:
        async for _ in logs.listen("n1"):
            pass
    except ShoalError as error:
        return str(error)
    return ""


async def test_a_selector_of_nothing_is_refused_at_once(world: World) -> None:
    with pytest.raises(InvalidArgument):
        world.logs.subscribe_logs(request())
