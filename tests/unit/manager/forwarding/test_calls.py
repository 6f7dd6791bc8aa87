"""A manager that follows, one that leads, and nodes that call the follower: real servers and real TLS on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import CABase, CAStub
from shoal.api.gen.dispatcher_grpc import DispatcherBase, DispatcherStub
from shoal.api.gen.logbroker_grpc import LogBrokerBase, LogBrokerStub
from shoal.ca.security import SecurityConfig, joining_context
from shoal.errors import NotFound
from shoal.manager.control.rpcs import ControlRpcs, Rpc
from shoal.manager.forwarding import leader_link
from shoal.manager.forwarding.calls import Forwarder
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import ControlService, TermService
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import NO_LEADER
from shoal.manager.port.server import ManagerServer, current_caller, listen
from tests.unit.ca.swarms import Swarm

WORKER, MANAGER, OTHER = "w" * 25, "m" * 25, "n" * 25


class Part(ControlRpcs):
    """A service of the leader that records who called it."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.held = 0
        self.lines: list[bytes] = []

    async def GetRootCACertificate(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        self.callers.append(current_caller())
        await stream.send_message(api.GetRootCACertificateResponse(certificate=b"pem"))

    async def Heartbeat(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        self.callers.append(current_caller())
        raise NotFound("node not registered")

    async def Session(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        self.callers.append(current_caller())
        self.held += 1
        try:
            await stream.send_message(api.SessionMessage(session_id="1"))
            await asyncio.Event().wait()
        finally:
            self.held -= 1

    async def PublishLogs(self, stream: Any) -> None:  # noqa: N802
        async for message in stream:
            self.lines.append(message.subscription_id.encode())
        await stream.send_message(api.PublishLogsResponse())

    async def carry_out(self, rpc: Rpc[Any, Any, Any], request: Any) -> Any:
        return await getattr(self, rpc.name)(request)

    async def get_service(self, request: api.GetServiceRequest) -> api.GetServiceResponse:
        self.callers.append(current_caller())
        return api.GetServiceResponse(service=api.Service(id=request.service_id))


@dataclass
class World:
    """Two managers. The one at `port` follows."""

    swarm: Swarm
    part: Part
    link: LeaderLink
    leader_link: LeaderLink
    port: int
    leader_port: int
    leads: dict[str, bool] = field(default_factory=lambda: {"leader": True})
    unfit: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def channel(self, who: SecurityConfig | None, *, leader: bool = False) -> AsyncIterator[Channel]:
        context = joining_context(self.swarm.root.certs_pem) if who is None else who.client_context()
        port = self.leader_port if leader else self.port
        channel = Channel(
            "127.0.0.1", port, ssl=context, config=Configuration(ssl_target_name_override="swarm-manager")
        )
        try:
            yield channel
        finally:
            channel.close()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(leader_link, "CONNECT_TIMEOUT", 60.0)  # both sides are on one loop, which may be slow
    swarm = Swarm(tmp_path, now=time.time())
    part = Part()
    leads = {"leader": True}
    unfit: set[str] = set()
    links: list[LeaderLink] = []
    ports: list[int] = []
    async with asyncio.TaskGroup() as group:
        children = []
        for name in ("leader", "follower"):
            security = swarm.manager(MANAGER if name == "leader" else OTHER)
            link = LeaderLink(security, patience=0.5)
            links.append(link)

            def current(name: str = name) -> Part | None:
                return part if leads.get(name) else None

            server = ManagerServer(
                security,
                [
                    TermService(CABase, current),
                    TermService(DispatcherBase, current),
                    TermService(LogBrokerBase, current),
                    ControlService(current),
                ],
                is_removed=lambda node_id: False,
                standing=lambda subject: "it was demoted" if subject.common_name in unfit else "",
                is_leader=lambda name=name: leads.get(name, False),  # type: ignore[misc]
                forward=Forwarder(link, f"10.0.0.{len(links)}:2377"),
            )
            listener = listen("127.0.0.1", 0)
            ports.append(listener.getsockname()[1])
            children.append(group.create_task(server.run(listener)))
        links[1].tell(MANAGER, f"127.0.0.1:{ports[0]}", leads=False)
        yield World(swarm, part, links[1], links[0], ports[1], ports[0], leads, unfit)
        for link in links:
            link.close()
        for child in children:
            child.cancel()


async def test_a_call_of_a_worker_reaches_the_leader_as_the_workers(world: World) -> None:
    async with world.channel(world.swarm.node(WORKER)) as channel:
        with pytest.raises(GRPCError) as caught:
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
    assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "node not registered")
    (caller,) = world.part.callers
    assert (caller.node_id, caller.role) == (WORKER, api.WORKER)
    assert caller.address.startswith("127.0.0.1:")


async def test_a_stranger_is_not_taken_for_the_manager_that_forwards(world: World) -> None:
    async with world.channel(None) as channel:
        reply = await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())
    assert reply.certificate == b"pem"
    (caller,) = world.part.callers
    assert (caller.node_id, caller.role) == ("", None)
    assert caller.address.startswith("127.0.0.1:")


async def test_what_a_worker_claims_in_headers_is_dropped(world: World) -> None:
    claims = {
        "forwarded_cert_cn": MANAGER,
        "forwarded_cert_org": world.swarm.cluster_id,
        "forwarded_cert_ou": "swarm-manager",
        "remote_addr": "1.2.3.4:5",
    }
    async with world.channel(world.swarm.node(WORKER)) as channel:
        with pytest.raises(GRPCError):
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest(), metadata=claims)
        assert world.part.callers[0].node_id == WORKER
        assert world.part.callers[0].address.startswith("127.0.0.1:")
        with pytest.raises(GRPCError) as caught:
            await DispatcherStub(channel).Heartbeat(
                api.HeartbeatRequest(), metadata=claims | {"forwarded_cert": "true"}
            )
    assert caught.value.status is Status.PERMISSION_DENIED
    assert len(world.part.callers) == 1


async def test_a_worker_may_not_call_control_through_a_follower(world: World) -> None:
    from shoal.api.gen.control_grpc import ControlStub

    async with world.channel(world.swarm.node(WORKER)) as channel:
        with pytest.raises(GRPCError) as caught:
            await ControlStub(channel).GetService(api.GetServiceRequest(service_id="x"))
    assert caught.value.status is Status.PERMISSION_DENIED
    assert not world.part.callers


async def test_streams_pass_and_end_with_their_caller(world: World) -> None:
    async with world.channel(world.swarm.node(WORKER)) as channel:
        async with DispatcherStub(channel).Session.open() as stream:
            await stream.send_message(api.SessionRequest(), end=True)
            message = await stream.recv_message()
            assert message is not None
            assert message.session_id == "1"
            assert world.part.held == 1
            await stream.cancel()
        async with asyncio.timeout(60):
            while world.part.held:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with LogBrokerStub(channel).PublishLogs.open() as logs:
            for name in ("a", "b"):
                await logs.send_message(api.PublishLogsMessage(subscription_id=name))
            await logs.end()
            assert await logs.recv_message() is not None
    assert world.part.lines == [b"a", b"b"]


async def test_more_streams_pass_than_one_connection_carries(world: World) -> None:
    worker = world.swarm.node(WORKER)
    async with world.channel(worker) as one, world.channel(worker) as two, asyncio.TaskGroup() as group:

        async def hold(channel: Channel) -> None:
            async with DispatcherStub(channel).Session.open() as stream:
                await stream.send_message(api.SessionRequest(), end=True)
                await stream.recv_message()
                await asyncio.Event().wait()

        holding = [group.create_task(hold(channel)) for channel in (one, two) for _ in range(80)]
        async with asyncio.timeout(60):
            while world.part.held < 160:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for each in holding:
            each.cancel()


async def test_a_call_is_forwarded_once(world: World) -> None:
    world.leads["leader"] = False
    async with world.channel(world.swarm.node(WORKER)) as channel:
        with pytest.raises(GRPCError) as caught:
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert caught.value.message == "more than one redirect to leader from: [10.0.0.2:2377]"


async def test_a_manager_about_to_lead_answers_when_it_does(world: World) -> None:
    world.leads["leader"] = False
    world.link.patience = world.leader_link.patience = 60.0

    async def take_over() -> None:
        await asyncio.sleep(0.2)
        world.leads["leader"] = True
        world.leader_link.tell(MANAGER, "", leads=True)

    async with world.channel(None) as channel, asyncio.TaskGroup() as group:
        group.create_task(take_over())
        assert await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())


async def test_without_a_leader_calls_hear_so_in_dockers_words(world: World) -> None:
    world.link.tell("", "", leads=False)
    async with world.channel(None) as channel:
        took = []
        for _ in range(5):
            started = time.monotonic()
            with pytest.raises(GRPCError) as caught:
                await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())
            took.append(time.monotonic() - started)
            assert (caught.value.status, caught.value.message) == (Status.UNAVAILABLE, NO_LEADER)
        # The second time it is known: no call waits for a leader again, though some may be slow on a busy machine.
        assert min(took[1:]) < 0.3
        world.link.trouble = lambda: "the disk is full"
        with pytest.raises(GRPCError) as caught:
            await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())
        assert caught.value.message == f"{NO_LEADER} (the disk is full)"


async def test_a_call_waits_for_the_next_leader(world: World) -> None:
    leader = f"127.0.0.1:{world.leader_port}"
    world.link.patience = 60.0
    world.link.tell("", "", leads=False)

    async def elect() -> None:
        await asyncio.sleep(0.2)
        world.link.tell(MANAGER, leader, leads=False)

    async with world.channel(None) as channel, asyncio.TaskGroup() as group:
        group.create_task(elect())
        assert await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())


async def test_what_the_leader_refuses_is_told_also_to_who_goes_on_sending(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.unfit.add(WORKER)
    async with world.channel(world.swarm.node(WORKER)) as channel:
        for _ in range(10):
            with pytest.raises(GRPCError, match="it was demoted") as caught:
                await LogBrokerStub(channel).PublishLogs([api.PublishLogsMessage(subscription_id="1")] * 20)
            assert caught.value.status is Status.PERMISSION_DENIED
    assert not world.part.lines
    assert "Traceback" not in caplog.text


async def test_a_manager_that_counts_no_more_forwards_nothing(world: World) -> None:
    world.unfit.add(OTHER)
    async with world.channel(world.swarm.node(WORKER)) as channel:
        with pytest.raises(GRPCError, match=r"unauthorized forwarder role.*it was demoted") as caught:
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
    assert caught.value.status is Status.PERMISSION_DENIED
    assert not world.part.callers


async def test_a_follower_leaves_it_to_the_leader_whose_certificate_counts(world: World) -> None:
    async with world.channel(world.swarm.manager(WORKER)) as channel, world.channel(None) as anyone:
        stub = DispatcherStub(channel)
        async with stub.Session.open() as stream:
            await stream.send_message(api.SessionRequest(), end=True)
            assert await stream.recv_message() is not None
            world.unfit.add(WORKER)  # `end_unfit` ends the calls that are being answered; the next call is refused
            with pytest.raises(GRPCError, match="it was demoted"):
                await stub.Heartbeat(api.HeartbeatRequest())
            await stream.cancel()
        await CAStub(anyone).GetRootCACertificate(api.GetRootCACertificateRequest())
