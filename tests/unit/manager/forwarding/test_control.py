"""Control on a manager that follows, with the leader's real server."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.engine.control_client import rpc
from shoal.errors import Conflict, InvalidArgument, NoLeader, NotFound, RpcError, ShoalError, Unavailable
from shoal.manager.control.rpcs import ControlRpcs, Rpc
from shoal.manager.forwarding.control import RemoteControl, RemoteLogs
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import ControlService, LogsService
from shoal.manager.port.server import ManagerServer, listen
from tests.unit.ca.swarms import Swarm


class Leader(ControlRpcs):
    """A simple Control and log broker."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.asked = 0
        self.lost: asyncio.Event | None = None
        self.tasks: list[api.Task] = []

    async def carry_out(self, rpc: Rpc[Any, Any, Any], request: Any) -> Any:
        return await getattr(self, rpc.name)(request)

    async def remove_service(self, request: api.RemoveServiceRequest) -> api.RemoveServiceResponse:
        await self._lose_first()
        return api.RemoveServiceResponse()

    async def create_service(self, request: api.CreateServiceRequest) -> api.CreateServiceResponse:
        await self._lose_first()
        return api.CreateServiceResponse()

    async def _lose_first(self) -> None:
        """Lose the first call, and answer the second."""
        self.asked += 1
        if self.asked == 1 and self.lost is not None:
            self.lost.set()
            await asyncio.Event().wait()

    async def get_service(self, request: api.GetServiceRequest) -> api.GetServiceResponse:
        if self.fails is not None:
            raise self.fails
        return api.GetServiceResponse(service=api.Service(id=request.service_id))

    async def list_tasks(self, request: api.ListTasksRequest) -> api.ListTasksResponse:
        return api.ListTasksResponse(tasks=self.tasks)

    async def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        for _ in request.selector.service_ids:
            yield api.SubscribeLogsMessage(messages=[api.LogMessage(data=b"line")])
        if self.fails is not None:
            raise self.fails


@asynccontextmanager
async def managers(folder: Path) -> AsyncIterator[tuple[Leader, LeaderLink]]:
    swarm = Swarm(folder, now=time.time())
    part = Leader()
    server = ManagerServer(
        swarm.manager("m" * 25),
        [ControlService(lambda: part), LogsService(lambda: part)],
        is_removed=lambda node_id: False,
    )
    listener = listen("127.0.0.1", 0)
    link = LeaderLink(swarm.manager("n" * 25), patience=0.5)
    link.tell("m" * 25, f"127.0.0.1:{listener.getsockname()[1]}", leads=False)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run(listener))
        await asyncio.sleep(0)
        yield part, link
        link.close()
        serving.cancel()


async def test_calls_are_answered_by_the_leader(tmp_path: Path) -> None:
    async with managers(tmp_path) as (_, link):
        control = RemoteControl(link, lambda: None)
        reply = await control.get_service(api.GetServiceRequest(service_id="x"))
    assert reply.service.id == "x"


@pytest.mark.parametrize(
    "error", [NotFound("service x not found"), Conflict("it exists"), ShoalError("plain"), InvalidArgument("wrong")]
)
async def test_errors_look_as_they_do_on_the_leader(tmp_path: Path, error: ShoalError) -> None:
    async with managers(tmp_path) as (part, link):
        part.fails = error
        with pytest.raises(RpcError) as there:
            await rpc(part.get_service, api.GetServiceRequest())
        with pytest.raises(RpcError) as here:
            await rpc(RemoteControl(link, lambda: None).get_service, api.GetServiceRequest())
    assert str(here.value) == str(there.value)
    assert here.value.http_status == there.value.http_status


async def test_a_list_of_fifty_thousand_tasks_comes_whole(tmp_path: Path) -> None:
    """Known fault 72: lists above 4 MB failed in the client."""
    async with managers(tmp_path) as (part, link):
        part.tasks = [
            api.Task(id=f"{number:025}", service_id="s" * 25, node_id="n" * 25, status={"message": "started" * 5})
            for number in range(50_000)
        ]
        reply = await RemoteControl(link, lambda: None).list_tasks(api.ListTasksRequest())
    assert reply.ByteSize() > 4 * 2**20
    assert [task.id for task in reply.tasks] == [task.id for task in part.tasks]


async def test_the_leader_asks_itself(tmp_path: Path) -> None:
    async with managers(tmp_path) as (_, link):
        own = Leader()
        own.fails = NotFound("asked here")
        link.tell("n" * 25, "", leads=True)
        with pytest.raises(NotFound, match="asked here"):
            await RemoteControl(link, lambda: own).get_service(api.GetServiceRequest())


async def test_a_call_goes_where_the_lead_has_gone(tmp_path: Path) -> None:
    async with managers(tmp_path) as (_, link):
        own: list[Leader] = [Leader()]
        own[0].fails = NoLeader()
        leader = link.address

        def local() -> Leader | None:
            return own.pop() if own else None

        link.tell("n" * 25, "", leads=True)
        link.tell("m" * 25, leader, leads=False)
        reply = await RemoteControl(link, local).get_service(api.GetServiceRequest(service_id="x"))
    assert reply.service.id == "x"


async def test_a_write_in_doubt_is_not_repeated(tmp_path: Path) -> None:
    async with managers(tmp_path) as (_, link):
        own = Leader()
        own.fails = NoLeader("raft: failed to process the request: node lost leader status")
        with pytest.raises(NoLeader, match="lost leader status"):
            await RemoteControl(link, lambda: own).get_service(api.GetServiceRequest())


@pytest.mark.parametrize("creates", [False, True])
async def test_what_may_have_been_created_and_removed_since_is_not_asked_for_again(
    tmp_path: Path, creates: bool
) -> None:
    async with managers(tmp_path) as (part, link), asyncio.TaskGroup() as group:
        part.lost = asyncio.Event()
        link.patience = 5.0
        control = RemoteControl(link, lambda: None)
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                if creates:
                    await control.create_service(api.CreateServiceRequest())
                else:
                    await control.remove_service(api.RemoveServiceRequest())
            except Unavailable as error:
                errors.append(error)

        call = group.create_task(ask())
        await part.lost.wait()
        address = link.address
        link.tell("", "", leads=False)  # the connection breaks
        link.tell("m" * 25, address, leads=False)
        await asyncio.wait([call])
        assert len(errors) == creates
        assert part.asked == (1 if creates else 2)


async def test_logs_come_from_the_leader_with_its_last_words(tmp_path: Path) -> None:
    request = api.SubscribeLogsRequest(selector=api.LogSelector(service_ids=["a", "b"]))
    async with managers(tmp_path) as (part, link):
        part.fails = ShoalError("warning: incomplete log stream")
        got: list[bytes] = []

        async def read() -> None:
            async for message in RemoteLogs(link, lambda: None).subscribe_logs(request):
                got.extend(line.data for line in message.messages)

        with pytest.raises(RpcError, match="incomplete log stream"):
            await read()
        with pytest.raises(InvalidArgument):
            RemoteLogs(link, lambda: None).subscribe_logs(api.SubscribeLogsRequest())
    assert got == [b"line", b"line"]
