"""What nodes see, asked of a manager that follows, with the leader's real server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shoal.api.gen.views_grpc import ViewsBase
from shoal.errors import InvalidArgument, NoLeader, RpcError
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import TermService
from shoal.manager.forwarding.views import RemoteViews
from shoal.manager.port.server import ManagerServer, current_caller, listen
from shoal.manager.views.server import ViewsServer
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.stores import MemoryStore
from tests.unit.manager.views.test_desk import node


def leading() -> ViewsServer:
    store = MemoryStore([node("a", "blue")])
    return ViewsServer(store, lambda node_id, request: False, caller=current_caller)  # type: ignore[arg-type]


@asynccontextmanager
async def link_to_a_leader(folder: Path) -> AsyncIterator[LeaderLink]:
    swarm = Swarm(folder, now=time.time())
    part = leading()
    service = TermService(ViewsBase, lambda: part)
    server = ManagerServer(swarm.manager("m" * 25), [service], is_removed=lambda node_id: False)
    listener = listen("127.0.0.1", 0)
    link = LeaderLink(swarm.manager("n" * 25), patience=0.2)
    link.tell("m" * 25, f"127.0.0.1:{listener.getsockname()[1]}", leads=False)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run(listener))
        await asyncio.sleep(0)
        yield link
        link.close()
        serving.cancel()


async def test_the_leader_asks_for_all_managers(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        found = await RemoteViews(link, lambda: None).ask(["blue"])
        assert [each.node_id for each in found.nodes] == ["a"]
        with pytest.raises(RpcError, match="64 networks") as refused:
            await RemoteViews(link, lambda: None).ask(["n"] * 65)
    assert refused.value.http_status == InvalidArgument.http_status


async def test_a_manager_that_leads_asks_itself(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        link.tell("", "", leads=False)
        assert len((await RemoteViews(link, leading).ask(["blue"])).nodes) == 1


async def test_without_a_leader_nobody_asks(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        link.tell("", "", leads=False)
        with pytest.raises(NoLeader):
            await RemoteViews(link, lambda: None).ask(["blue"])
