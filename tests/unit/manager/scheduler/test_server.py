"""The service that tells other managers why a task is where it is."""

from random import Random

import pytest

from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.errors import NotFound, ShoalError
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.manager.scheduler.server import PlacementServer
from tests.unit.manager.builders import NOW, node, task
from tests.unit.manager.stores import MemoryStore


class Call:
    """A call with its request and its answer."""

    def __init__(self, request: pb.ExplainRequest | None) -> None:
        self.request = request
        self.replies: list[pb.Explanation] = []

    async def recv_message(self) -> pb.ExplainRequest | None:
        return self.request

    async def send_message(self, reply: pb.Explanation) -> None:
        self.replies.append(reply)


def server() -> PlacementServer:
    store = MemoryStore([node("a"), task("web.1", api.PENDING)])
    return PlacementServer(store, Scheduler(Random(1)), lambda: NOW)  # type: ignore[arg-type]


async def test_a_manager_is_told_what_the_scheduler_thinks() -> None:
    call = Call(pb.ExplainRequest(task_id="web.1"))
    await server().Explain(call)  # type: ignore[arg-type]
    (reply,) = call.replies
    assert [one.node_id for one in reply.nodes] == ["a"]


async def test_what_cannot_be_answered_is_an_error() -> None:
    with pytest.raises(NotFound):
        await server().Explain(Call(pb.ExplainRequest(task_id="gone")))  # type: ignore[arg-type]
    with pytest.raises(ShoalError, match="without a request"):
        await server().Explain(Call(None))  # type: ignore[arg-type]
