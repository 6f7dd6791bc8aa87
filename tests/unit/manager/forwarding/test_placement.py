"""A manager that follows is asked why a task is where it is, with the leader's real server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from shoal.api import v1 as api
from shoal.api.gen.placement_grpc import PlacementBase
from shoal.errors import NoLeader, NotFound, RpcError
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.placement import RemotePlacement
from shoal.manager.forwarding.services import TermService
from shoal.manager.port.server import ManagerServer, listen
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.manager.scheduler.server import PlacementServer
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.builders import NOW, node, task
from tests.unit.manager.stores import MemoryStore


def leading() -> PlacementServer:
    store = MemoryStore([node("a"), task("web.1", api.PENDING)])
    return PlacementServer(store, Scheduler(Random(1)), lambda: NOW)  # type: ignore[arg-type]


@asynccontextmanager
async def link_to_a_leader(folder: Path) -> AsyncIterator[LeaderLink]:
    swarm = Swarm(folder, now=time.time())
    part = leading()
    service = TermService(PlacementBase, lambda: part)
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


async def test_the_leader_answers_for_all_managers(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        found = await RemotePlacement(link, lambda: None).explain("web.1")
        assert found == leading().explain("web.1")
        with pytest.raises(RpcError, match="task gone not found") as refused:
            await RemotePlacement(link, lambda: None).explain("gone")
    assert refused.value.http_status == NotFound.http_status


async def test_a_manager_that_leads_answers_itself(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        link.tell("", "", leads=False)
        found = await RemotePlacement(link, leading).explain("web.1")
        assert found.task_id == "web.1"


async def test_a_lead_that_is_taken_meanwhile_is_noticed(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        parts = iter((None, leading()))
        link.tell("n" * 25, "127.0.0.1:1", leads=True)
        found = await RemotePlacement(link, lambda: next(parts)).explain("web.1")
        assert found.task_id == "web.1"


async def test_without_a_leader_nobody_answers(tmp_path: Path) -> None:
    async with link_to_a_leader(tmp_path) as link:
        link.tell("", "", leads=False)
        with pytest.raises(NoLeader):
            await RemotePlacement(link, lambda: None).explain("web.1")
