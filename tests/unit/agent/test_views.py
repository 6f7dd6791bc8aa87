"""Requests for this node's views, answered over gRPC in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.testing import ChannelFor

from shoal.agent import views
from shoal.agent.views import MOST_AT_ONCE, ViewAnswers
from shoal.api.gen import views_pb2 as pb
from shoal.api.gen.views_grpc import ViewsBase, ViewsStub
from shoal.errors import NotFound


class Manager(ViewsBase):
    """A manager that keeps what it is told; `refuses` once."""

    def __init__(self) -> None:
        self.told: list[pb.ViewAnswer] = []
        self.refuses = False

    async def Ask(self, stream: Any) -> None:  # noqa: N802
        raise AssertionError

    async def Answer(self, stream: Any) -> None:  # noqa: N802
        answer = await stream.recv_message()
        if self.refuses:
            raise NotFound("nobody waits for this answer")
        self.told.append(answer)
        await stream.send_message(pb.ViewAnswered())


async def look(network_id: str) -> Mapping[str, Any]:
    return {"Told": {"of": network_id}}


@asynccontextmanager
async def answering(seen: Any = look) -> AsyncIterator[tuple[ViewAnswers, Manager]]:
    manager = Manager()
    async with ChannelFor([manager]) as channel, asyncio.TaskGroup() as group:
        yield ViewAnswers(ViewsStub(channel), seen, group), manager


def request(name: str, *networks: str) -> pb.ViewRequest:
    return pb.ViewRequest(id=name, network_ids=networks)


async def test_a_request_is_answered_network_by_network() -> None:
    async with answering() as (answers, manager):
        answers.take([request("q", "blue", "red")])
    (told,) = manager.told
    assert (told.id, told.reason) == ("q", "")
    assert json.loads(told.views) == [{"Told": {"of": "blue"}}, {"Told": {"of": "red"}}]


async def test_a_view_that_is_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST_BYTES", 10)
    async with answering() as (answers, manager):
        answers.take([request("q", "blue")])
    (told,) = manager.told
    assert told.views == b""
    assert told.reason.endswith("bytes: ask its own daemon")


async def test_requests_beyond_the_limit_are_not_answered_and_later_ones_are() -> None:
    gate = asyncio.Event()

    async def slow(network_id: str) -> Mapping[str, Any]:
        await gate.wait()
        return {}

    async with answering(slow) as (answers, manager):
        answers.take([request(str(number), "n") for number in range(MOST_AT_ONCE + 3)])
        await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            while len(manager.told) < MOST_AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            while answers._running:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        answers.take([request("later", "n")])
    assert sorted(told.id for told in manager.told) == [*map(str, range(MOST_AT_ONCE)), "later"]


async def test_a_manager_that_does_not_want_it_any_more_ends_nothing() -> None:
    async with answering() as (answers, manager):
        manager.refuses = True
        answers.take([request("q", "blue")])
    assert manager.told == []
