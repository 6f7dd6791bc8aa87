"""Questions to nodes and their answers, in virtual time."""

import asyncio

import pytest
from grpclib.testing import ChannelFor

from shoal.api.gen import views_pb2 as pb
from shoal.api.gen.views_grpc import ViewsStub
from shoal.errors import InvalidArgument, NotFound, ResourceExhausted
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.manager.views import server
from shoal.manager.views.desk import MOST_NETWORKS, SILENT
from shoal.manager.views.server import MOST_QUESTIONS, PATIENCE, ViewsServer
from tests.unit.manager.stores import MemoryStore
from tests.unit.manager.views.test_desk import node

pytestmark = pytest.mark.looptime


class Asked:
    """Nodes a and b are on blue; requests are kept, and `gone` nodes have no session."""

    def __init__(self, *gone: str) -> None:
        self.requests: list[tuple[str, pb.ViewRequest]] = []
        self.gone = gone
        store = MemoryStore([node("a", "blue"), node("b", "blue")])
        self.server = ViewsServer(store, self.ask_node, caller=current_caller)  # type: ignore[arg-type]

    def ask_node(self, node_id: str, request: pb.ViewRequest) -> bool:
        self.requests.append((node_id, request))
        return node_id not in self.gone

    def answer(self, node_id: str, views: bytes) -> None:
        self.server.answer(node_id, pb.ViewAnswer(id=self.requests[0][1].id, views=views))


async def test_all_who_answer_are_in_the_reply_as_soon_as_all_have() -> None:
    asked = Asked()
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(asked.server.ask(["blue"]))
        await asyncio.sleep(1)
        assert [(node_id, list(request.network_ids)) for node_id, request in asked.requests] == [
            ("a", ["blue"]),
            ("b", ["blue"]),
        ]
        asked.answer("b", b"[2]")
        asked.answer("a", b"[1]")
    assert [each.views for each in asking.result().nodes] == [b"[1]", b"[2]"]
    assert asyncio.get_running_loop().time() == began + 1
    with pytest.raises(NotFound):
        asked.answer("a", b"late")


async def test_the_silent_are_waited_for_so_long_and_the_absent_not_at_all() -> None:
    asked = Asked("b")
    began = asyncio.get_running_loop().time()
    reply = await asked.server.ask(["blue"])
    assert [each.reason for each in reply.nodes] == [SILENT, "not asked: it has no session with this manager"]
    assert asyncio.get_running_loop().time() == began + PATIENCE
    assert (await asked.server.ask(["red"])).nodes == []


async def test_questions_are_bounded() -> None:
    asked = Asked()
    with pytest.raises(InvalidArgument, match="64 networks"):
        await asked.server.ask(["n"] * (MOST_NETWORKS + 1))
    async with asyncio.TaskGroup() as group:
        for _ in range(MOST_QUESTIONS):
            group.create_task(asked.server.ask(["blue"]))
        await asyncio.sleep(0.1)
        with pytest.raises(ResourceExhausted):
            await asked.server.ask(["blue"])
    assert asked.server._open == {}


async def test_a_node_answers_by_a_call_as_who_its_certificate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 2.0)
    asked = Asked("b")

    caller = Caller("a", None, "c1", "192.0.2.7:4242")
    async with ChannelFor(guarded([asked.server], as_caller(caller))) as channel, asyncio.TaskGroup() as group:
        asking = group.create_task(ViewsStub(channel).Ask(pb.ViewsRequest(network_ids=["blue"])))
        while not asked.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await ViewsStub(channel).Answer(pb.ViewAnswer(id=asked.requests[0][1].id, views=b"[]"))
    assert [each.views for each in asking.result().nodes] == [b"[]", b""]
