"""Three managers on loopback with different ports: real certificates, real etcds, all in one process.

test_failover.py kills, pauses and cuts off leaders, with a daemon and a network namespace for each.
"""

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen import etcd_pb2 as pb_etcd
from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.managers_grpc import ManagersStub
from shoal.ca.csr import make_csr, new_key
from shoal.ca.root import RootCA
from shoal.ca.security import SecurityConfig
from shoal.errors import RpcError, ShoalError
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.node import founding, joining
from shoal.node.manager import Active, Manager
from shoal.node.peers import Peers
from shoal.node.state import NodeState
from shoal.node.types import InitRequest, JoinRequest
from shoal.paths import Paths
from shoal.store import pace
from shoal.store.members import move_lead
from tests.harness.hosts import patient

PATIENCE = patient(30.0)
# etcd makes a snapshot after 5,000 entries and keeps as many entries before it. A member that needs an older entry gets
# the snapshot.
ENTRIES = 5_300


@dataclass
class One:
    """A manager of the test's swarm."""

    name: str
    paths: Paths
    port: int
    security: SecurityConfig
    known: Peers = ()
    first: FirstLeader | None = None
    active: Active | None = None
    manager: Manager | None = None
    child: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def id(self) -> str:
        return self.security.node_id

    @property
    def leads(self) -> bool:
        return self.manager is not None and self.manager._term is not None


@dataclass
class Several:
    """The swarm."""

    folder: Path
    group: asyncio.TaskGroup
    ports: list[int]
    all: dict[str, One] = field(default_factory=dict)

    def state(self, port: int) -> NodeState:
        return NodeState(f"127.0.0.1:{port}", f"127.0.0.1:{port}", "127.0.0.1")

    async def found(self, name: str) -> One:
        paths = Paths(self.folder / name / "d", self.folder / name / "e")
        port = self.ports.pop()
        made = founding.found(paths, InitRequest(f"127.0.0.1:{port}"), self.state(port), time.time())
        return await self.start(One(name, paths, port, made.security, first=made.first))

    async def join(self, name: str, through: One, *, manager: bool = True) -> One:
        assert through.active is not None
        (cluster,) = through.active.store.view().clusters.all()
        tokens = cluster.root_ca.join_tokens
        paths = Paths(self.folder / name / "d", self.folder / name / "e")
        port = self.ports.pop()
        request = JoinRequest(f"127.0.0.1:{port}", (through.address,), tokens.manager if manager else tokens.worker)
        paths.swarm.mkdir(parents=True)
        security = await joining.join(founding.certificates(paths), request, Random(1), time.time)
        one = One(name, paths, port, security, known=(("", through.address),))
        return await self.start(one) if manager else one

    async def start(self, one: One, *, wait: bool = True) -> One:
        self.all[one.name] = one
        up = asyncio.Event()

        def started(active: Active) -> None:
            one.active = active
            up.set()

        one.manager = Manager(
            one.paths,
            one.security,
            self.state(one.port),
            one.first,
            Random(1),
            lambda: one.known,
        )
        one.child = self.group.create_task(one.manager.run(started), name=one.name)
        if wait:
            async with asyncio.timeout(PATIENCE):
                await up.wait()
            one.first = None
        return one

    async def stop(self, one: One) -> None:
        assert one.child is not None
        one.child.cancel()
        await asyncio.wait([one.child])
        one.active = one.manager = None
        one.known = tuple((each.id, each.address) for each in self.all.values() if each is not one)

    @property
    def leader(self) -> One:
        (leader,) = [one for one in self.all.values() if one.leads]
        return leader

    async def wait_leader(self, *, but: One | None = None) -> One:
        await wait(lambda: len([one for one in self.all.values() if one.leads and one is not but]) == 1)
        return self.leader


async def wait(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def swarm(folder: Path, ports: list[int]) -> AsyncIterator[Several]:
    async with asyncio.TaskGroup() as group:
        made = Several(folder, group, list(ports))
        yield made
        for one in made.all.values():
            if one.child is not None:
                one.child.cancel()


@pytest.fixture
async def several(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[Several]:
    async with swarm(tmp_path, [unused_tcp_port_factory() for _ in range(6)]) as made:
        yield made


async def three(several: Several) -> list[One]:
    a = await several.found("a")
    b = await several.join("b", a)
    c = await several.join("c", b)  # through a manager that follows
    await wait(lambda: len(members(a)) == 3)
    return [a, b, c]


def members(one: One) -> dict[str, str]:
    """Return the addresses of the managers, as one of them knows them."""
    assert one.active is not None
    return {
        node.id: node.manager_status.addr
        for node in one.active.store.view().nodes.all()
        if node.HasField("manager_status")
    }


async def create(one: One, name: str) -> str:
    assert one.active is not None
    spec = api.ServiceSpec(annotations=api.Annotations(name=name), replicated=api.ReplicatedService(replicas=0))
    spec.task.container.image = "image"
    reply = await one.active.control.create_service(api.CreateServiceRequest(spec=spec))
    return reply.service.id


async def create_at_last(one: One, name: str) -> None:
    """Create a service, with retries: on a busy machine it may take longer to find a leader than a call waits."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await create(one, name)
            except ShoalError as error:
                if "name conflicts" in str(error):
                    return  # an attempt that failed took effect after all
                if error.http_status != 503:
                    raise
            else:
                return


async def statuses(one: One) -> dict[str, api.ManagerStatus]:
    assert one.active is not None
    reply = await one.active.control.list_nodes(api.ListNodesRequest())
    return {node.id: node.manager_status for node in reply.nodes if node.HasField("manager_status")}


async def set_role(one: One, node_id: str, role: int) -> None:
    assert one.active is not None
    control = one.active.control
    node = (await control.get_node(api.GetNodeRequest(node_id=node_id))).node
    spec = node.spec
    spec.desired_role = role  # type: ignore[assignment]
    await control.update_node(api.UpdateNodeRequest(node_id=node_id, node_version=node.meta.version, spec=spec))


async def test_three_managers_take_writes_wherever_they_come(several: Several) -> None:
    managers = await three(several)
    for one in managers:
        await create(one, f"by-{one.name}")
    for one in managers:
        assert one.active is not None
        reply = await one.active.control.list_services(api.ListServicesRequest())
        assert {service.spec.annotations.name for service in reply.services} == {"by-a", "by-b", "by-c"}
        store = one.active.store
        await wait(lambda store=store: len(store.view().services) == 3)  # type: ignore[misc]
        with pytest.raises(ShoalError, match="name conflicts with an existing object: service by-a already exists"):
            await create(one, "by-a")
    found = await statuses(managers[2])
    assert {node_id: status.leader for node_id, status in found.items()} == {one.id: one.leads for one in managers}
    await wait_all_reachable(managers[2], 3)


async def test_any_manager_explains_where_a_task_is(several: Several) -> None:
    managers = await three(several)
    a = managers[0].active
    assert a is not None
    spec = api.ServiceSpec(annotations=api.Annotations(name="web"), replicated=api.ReplicatedService(replicas=1))
    spec.task.container.image = "image"
    spec.task.placement.constraints.append("node.labels.disk==ssd")
    await a.control.create_service(api.CreateServiceRequest(spec=spec))
    # There are no agents here, so the nodes are not ready, and that is the first reason against them.
    waits = "no suitable node (3 nodes not available for new tasks)"
    store = a.store
    await wait(lambda: [each.status.err for each in store.view().tasks.all()] == [waits])
    (task,) = store.view().tasks.all()
    for one in managers:
        assert one.active is not None
        found = await one.active.placement.explain(task.id)
        assert found.message == waits
        assert {each.node_id for each in found.nodes} == {each.id for each in managers}
        assert all("node.labels.disk==ssd" in each.reasons[1] for each in found.nodes)
        with pytest.raises(ShoalError, match="task gone not found"):
            await one.active.placement.explain("gone")


async def wait_all_reachable(one: One, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await statuses(one)
            if [each.reachability for each in found.values()] == [api.RaftMemberStatus.REACHABLE] * count:
                return
            await asyncio.sleep(0.05)


async def wait_unreachable(one: One, other: One) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if (await statuses(one))[other.id].reachability == api.RaftMemberStatus.UNREACHABLE:
                return
            await asyncio.sleep(0.05)


async def test_another_leads_when_the_leader_stops(several: Several) -> None:
    managers = await three(several)
    before = several.leader
    await several.stop(before)
    rest = [one for one in managers if one is not before]
    for one in rest:
        await create_at_last(one, f"after-{one.name}")
    await wait_unreachable(rest[0], before)
    await several.start(before)
    assert before.active is not None
    await wait(lambda: before.active is not None and len(before.active.store.view().services) == 2)
    await create_at_last(before, "back")
    await wait_all_reachable(before, 3)


async def test_without_quorum_calls_hear_so_and_all_is_well_after(several: Several) -> None:
    a, b, c = await three(several)
    await create(a, "one")
    await several.stop(b)
    await several.stop(c)
    with pytest.raises(ShoalError, match=r"The swarm does not have a leader|lost leader|etcd") as caught:
        await create(a, "two")
    assert caught.value.http_status == 503
    await several.start(b)
    await create_at_last(a, "three")
    for one in (a, b):
        await wait(lambda one=one: names(one) >= {"one", "three"})  # type: ignore[misc]


def names(one: One) -> set[str]:
    assert one.active is not None
    return {each.spec.annotations.name for each in one.active.store.view().services.all()}


async def test_a_manager_is_a_member_as_before_at_another_address(several: Several) -> None:
    a, b, c = await three(several)
    raft_id = (await statuses(a))[c.id].raft_id
    await several.stop(c)
    c.port = several.ports.pop()
    await several.start(c)
    await wait(lambda: members(a)[c.id] == c.address and members(b)[c.id] == c.address)
    assert (await statuses(c))[c.id].raft_id == raft_id
    await wait_all_reachable(c, 3)


async def test_demoted_managers_leave_the_quorum_the_leader_too(several: Several) -> None:
    a, b, c = await three(several)
    leader = several.leader
    others = [one for one in (a, b, c) if one is not leader]
    await set_role(others[0], leader.id, api.WORKER)
    await several.wait_leader(but=leader)
    await wait(lambda: leader.id not in members(others[0]))
    await wait(lambda: role(others[0], leader.id) == api.WORKER)
    await create(others[1], "after")
    assert len(members(others[0])) == 2


async def test_a_manager_that_the_quorum_needs_is_not_demoted(several: Several) -> None:
    managers = await three(several)
    leader = several.leader
    away, needed = (one for one in managers if one is not leader)
    await several.stop(away)
    await wait_unreachable(leader, away)
    with pytest.raises(ShoalError, match="this would result in a loss of quorum"):
        await set_role(needed, needed.id, api.WORKER)
    await set_role(needed, away.id, api.WORKER)  # a manager that is gone for good
    await wait(lambda: away.id not in members(needed))
    await create(needed, "after")


def role(one: One, node_id: str) -> int:
    assert one.active is not None
    node = one.active.store.view().nodes.get(node_id)
    assert node is not None
    return node.role


async def test_a_manager_whose_data_is_gone_is_taken_in_anew(several: Several) -> None:
    a, _, c = await three(several)
    raft_id = (await statuses(a))[c.id].raft_id
    await create(a, "kept")
    await several.stop(c)
    shutil.rmtree(c.paths.swarm / "etcd")
    await several.start(c)
    assert c.active is not None
    await wait(lambda: c.active is not None and len(c.active.store.view().services) == 1)
    assert (await statuses(c))[c.id].raft_id != raft_id
    await wait_all_reachable(a, 3)


def election_ms(one: One) -> int:
    """Return for how long a manager's etcd waits for a leader. 0: none runs at the moment."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if os.fsencode(one.paths.swarm / "etcd") in words and b"--election-timeout" in words:
                return int(words[words.index(b"--election-timeout") + 1])
    return 0


async def test_managers_that_hold_one_election_after_the_other_become_patient_in_turn(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TURN", 1.0)
    managers = await three(several)
    assert {election_ms(one) for one in managers} == {500, 600}  # the first one was alone when it started
    async with asyncio.timeout(3 * PATIENCE):
        while {election_ms(one) for one in managers} != {2400}:
            for leader in [one for one in managers if one.leads]:
                assert leader.active is not None
                with suppress(ShoalError):
                    await move_lead(leader.active.etcd)
            await asyncio.sleep(0.2)
    for one in managers:
        await create_at_last(one, f"by-{one.name}")
    await wait_all_reachable(managers[0], 3)


async def test_a_workers_certificate_reaches_no_etcd(several: Several) -> None:
    a, _, _ = await three(several)
    worker = await several.join("w", a, manager=False)
    # It may be refused before the handshake has ended on this side, or after.
    with suppress(ConnectionError, ssl.SSLError):
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", a.port, ssl=worker.security.peer_context(), server_hostname="swarm-manager"
            )
            try:
                writer.write(b"GET /members HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await reader.read() == b""
            finally:
                writer.transport.abort()
    channel = Channel(
        "127.0.0.1",
        a.port,
        ssl=worker.security.client_context(),
        config=Configuration(ssl_target_name_override="swarm-manager"),
    )
    with pytest.raises(GRPCError, match="remote certificate not part of OUs"):
        await ManagersStub(channel).Join(pb.JoinRequest(addr="127.0.0.1:1"))
    channel.close()


async def test_a_manager_that_cannot_be_called_back_is_not_taken_in(several: Several) -> None:
    a = await several.found("a")
    b = await several.join("b", a, manager=False)  # only an identity; below it gets a manager's certificate
    await set_role(a, b.id, api.MANAGER)
    await wait(lambda: role(a, b.id) == api.MANAGER)
    with pytest.raises(RpcError, match="could not connect to prospective new cluster member"):
        await _join_as(a, b)


async def _join_as(a: One, b: One) -> None:
    """Ask to admit b, with a manager's certificate, while nobody serves at its address."""
    assert a.active is not None
    key = new_key()
    (cluster,) = a.active.store.view().clusters.all()
    root = RootCA(cluster.root_ca.ca_cert, cluster.root_ca.ca_key)
    chain = root.issue(make_csr(key), b.id, api.MANAGER, a.security.cluster_id, now=time.time())
    await b.security.renew(chain, key, time.time())
    link = LeaderLink(b.security)
    link.tell("", a.address, leads=False)
    try:
        await joining.announce(link, f"127.0.0.1:{b.port}", has_data=False)
    finally:
        link.close()


async def test_a_manager_that_was_removed_while_it_was_away_may_come_back(several: Several) -> None:
    managers = await three(several)
    leader = several.leader
    away = next(one for one in managers if one is not leader)
    await several.stop(away)
    await set_role(leader, away.id, api.WORKER)
    await wait(lambda: away.id not in members(leader))
    await several.start(away, wait=False)
    await wait(lambda: not (away.paths.swarm / "etcd").exists())
    await wait(lambda: role(leader, away.id) == api.WORKER)
    await set_role(leader, away.id, api.MANAGER)
    await wait(lambda: away.active is not None)
    await create(away, "back")


async def test_a_manager_that_joins_late_gets_a_snapshot_through_the_gate(
    several: Several, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "shoal.store.etcd_process")
    first = await several.found("first")
    assert first.active is not None
    etcd = first.active.etcd

    async def put(number: int) -> None:
        for at in range(number, ENTRIES, 64):
            request = pb_etcd.PutRequest(key=b"/elsewhere/%d" % (at % 100), value=b"%d" % at)
            await etcd.txn(pb_etcd.TxnRequest(success=[pb_etcd.RequestOp(request_put=request)]))

    async with asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(put(number))
    second = await several.join("second", first)
    await create(second, "by-second")
    assert "received and saved database snapshot" in caplog.text
    assert "was refused" not in caplog.text
