"""A worker sends false statuses of its tasks, and false log lines. No manager is harmed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogBrokerStub
from tests.harness.hosts import eventually
from tests.harness.stolen_worker import Speaker, StolenWorker, get, stolen_worker

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def made() -> Iterator[StolenWorker]:
    with stolen_worker("statuses", managers=2) as position:
        yield position


@pytest.fixture
def worker(made: StolenWorker) -> Iterator[StolenWorker]:
    yield made
    made.check()
    made.check_changes()


BAD = [700, 2_000_000_000, -1, api.ORPHANED, api.REMOVE, api.NEW]


def test_states_that_no_agent_may_report_are_not_believed(worker: StolenWorker) -> None:
    before = worker.own_task()

    async def story(speaker: Speaker) -> None:
        for state in BAD:
            await speaker.report(worker.own_id, api.TaskStatus(state=state, err="a lie"))  # type: ignore[arg-type]
            assert (await asyncio.to_thread(worker.own_task))["Status"] == before["Status"], state

    worker.play(story)
    assert "is unknown (700), which no agent may report" in worker.manager.log()


def test_an_instant_beyond_all_calendars_and_texts_without_end_are_shown_as_well_as_can_be(
    worker: StolenWorker,
) -> None:
    status = api.TaskStatus(state=api.RUNNING, message="m" * 1_000_000, err="e" * 1_000_000)
    status.timestamp.seconds = 1 << 60
    status.container.container_id = "c" * 100_000
    for number in range(2000):
        status.port_status.ports.add(name="p" * 100, protocol=99, target_port=number)
    worker.play(lambda speaker: speaker.report(worker.own_id, status))
    now = worker.own_task()
    assert now["Status"]["Message"].startswith("mmm")
    assert now["Status"]["Timestamp"].startswith("20")  # the time at which the manager heard of it
    for manager in worker.managers:
        assert len(get(manager, f"/tasks/{worker.own_id}")[1]) < 64 * 1024


def test_log_lines_of_no_instant_or_of_others_tasks_end_no_reader(worker: StolenWorker) -> None:
    others = worker.others_task["ID"]

    async def story(speaker: Speaker) -> bytes:
        broker = LogBrokerStub(speaker.channel)
        async with broker.ListenSubscriptions.open() as listening:
            await listening.send_message(api.ListenSubscriptionsRequest(), end=True)
            await listening.recv_initial_metadata()
            reading = asyncio.to_thread(get, worker.managers[1], "/services/of-worker/logs?stdout=1&timestamps=1")
            async with asyncio.TaskGroup() as group:
                read = group.create_task(reading)
                told = await listening.recv_message()
                assert told is not None
                lines = (worker.own_id, b"mine\n"), (others, b"forged\n"), ("none", b"forged\n")
                await publish(broker, told.id, worker.identity.node_id, *lines)
            await listening.cancel()
            status, text = read.result()
            assert status == 200
            return text.encode()

    text = worker.play(story)
    assert b"1970-01-01T00:00:00.000000000Z mine\n" in text
    assert b"forged" not in text
    eventually(
        lambda: "log lines of tasks that it was not asked for" in worker.manager.log(),
        "it is told",
        show=worker.manager.log,
    )


async def publish(broker: LogBrokerStub, subscription_id: str, node_id: str, *lines: Any) -> None:
    message = api.PublishLogsMessage(subscription_id=subscription_id)
    for task_id, data in lines:
        context = api.LogContext(node_id=node_id, task_id=task_id)
        message.messages.add(context=context, timestamp={"seconds": 1 << 60}, stream=api.LOG_STREAM_STDOUT, data=data)
    async with broker.PublishLogs.open() as stream:
        await stream.send_message(message)
        await stream.send_message(api.PublishLogsMessage(subscription_id=subscription_id, close=True), end=True)
        await stream.recv_message()
