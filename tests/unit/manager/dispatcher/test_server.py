"""The dispatcher over gRPC in memory, under virtual time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor
from h2.exceptions import StreamClosedError

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.api.times import seconds
from shoal.manager.dispatcher.budgets import BURST_BYTES, BYTES_A_SECOND
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.dispatcher.sessions import CHANGE_LIMIT, MAX_DESCRIPTION_BYTES, ORPHAN_AFTER, REGISTRATION_QUIET
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.store.changes import Object, copy
from tests.unit.manager.probes import Hosts
from tests.unit.manager.stores import MemoryStore

pytestmark = pytest.mark.looptime

DESCRIPTION = api.NodeDescription(hostname="host-1")


def task(task_id: str, state: int = api.ASSIGNED, node_id: str = "n1") -> api.Task:
    return api.Task(id=task_id, node_id=node_id, desired_state=api.RUNNING, status={"state": state})  # type: ignore[arg-type]


def cluster() -> api.Cluster:
    made = api.Cluster(id="c1")
    made.spec.annotations.name = "default"
    made.root_ca.ca_cert = b"root"
    made.network_bootstrap_keys.add(subsystem="networking:gossip", key=b"k")
    return made


class Leader:
    """A leader with its dispatcher, and channels of nodes to it."""

    def __init__(self, *objects: Object, nodes: Iterable[api.Node] = (api.Node(id="n1"), api.Node(id="n2"))) -> None:
        self.store = MemoryStore([cluster(), *nodes, *objects])
        self.hosts = Hosts()
        self.reachable: set[str] = set()
        self.dispatcher = Dispatcher(
            self.store,  # type: ignore[arg-type]
            node_id="m1",
            managers=lambda: [api.Peer(node_id="m1", addr="10.0.0.1:2377")],
            caller=current_caller,
            clock=lambda: 1000.0,
            rng=Random(1),
            is_reachable=self.reachable.__contains__,
            probe=self.hosts,
        )

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            child = group.create_task(self.dispatcher.run())
            for _ in range(10):
                await asyncio.sleep(0)
            yield
            child.cancel()

    @asynccontextmanager
    async def node(self, node_id: str = "n1", address: str = "192.0.2.7") -> AsyncIterator[DispatcherStub]:
        caller = Caller(node_id, api.WORKER, "c1", f"{address}:4242")
        async with ChannelFor(guarded([self.dispatcher], as_caller(caller))) as channel:
            assert isinstance(channel, Channel)
            yield DispatcherStub(channel)

    def status(self, node_id: str = "n1") -> tuple[str, str]:
        node = self.store.view().nodes.get(node_id)
        assert node is not None
        return api.NodeStatus.State.Name(node.status.state), node.status.message

    def state(self, task_id: str) -> str:
        found = self.store.view().tasks.get(task_id)
        assert found is not None
        return api.TaskState.Name(found.status.state)


@asynccontextmanager
async def session(stub: DispatcherStub, old: str = "") -> AsyncIterator[tuple[str, Any]]:
    """Hold a session; yields its id and a stream to read more messages from."""
    over = False
    try:
        async with stub.Session.open() as stream:
            await stream.send_message(api.SessionRequest(description=DESCRIPTION, session_id=old), end=True)
            first = await stream.recv_message()
            if first is None:
                await stream.recv_trailing_metadata()
            assert first is not None
            yield first.session_id, stream
            over = True
            await stream.cancel()
    except (StreamClosedError, GRPCError):
        if not over:  # else the dispatcher was the first to end it
            raise


async def ended(stream: Any) -> None:
    """Read a stream to its end; raises what the dispatcher has to say of it."""
    while await stream.recv_message() is not None:
        pass
    await stream.recv_trailing_metadata()


async def test_a_session_tells_node_managers_keys_and_root() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, stub.Session.open() as stream:
        await stream.send_message(api.SessionRequest(description=DESCRIPTION), end=True)
        first = await stream.recv_message()
        assert first is not None
        assert first.node.status == api.NodeStatus(state=api.NodeStatus.READY, addr="192.0.2.7")
        assert first.node.description == DESCRIPTION
        assert first.managers == [api.WeightedPeer(peer={"node_id": "m1", "addr": "10.0.0.1:2377"}, weight=10)]
        assert first.network_bootstrap_keys[0].key == b"k"
        assert first.RootCA == b"root"
        node = leader.store.view().nodes.get("n1")
        assert node is not None
        changed = copy(node)
        changed.spec.availability = api.NodeSpec.DRAIN
        await leader.store.update(lambda tx: tx.update(changed))
        second = await stream.recv_message()
        assert second is not None
        assert second.node.spec.availability == api.NodeSpec.DRAIN
        assert second.session_id == first.session_id
        assert second.managers == first.managers
        await stream.cancel()


async def test_an_unknown_node_gets_no_session() -> None:
    leader = Leader()
    async with leader.leads(), leader.node("n9") as stub:
        with pytest.raises(GRPCError) as caught:
            async with session(stub):
                pass
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "node not found")


async def test_nothing_is_answered_by_who_does_not_lead() -> None:
    leader = Leader()
    async with leader.node() as stub:
        for call in (
            stub.Heartbeat(api.HeartbeatRequest()),
            stub.UpdateTaskStatus(api.UpdateTaskStatusRequest()),
            stub.Assignments(api.AssignmentsRequest()),
        ):
            with pytest.raises(GRPCError) as caught:
                await call
            assert (caught.value.status, caught.value.message) == (Status.ABORTED, "dispatcher is stopped")


async def test_a_live_session_is_resumed_and_another_replaces_it() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (first, stream):
        async with session(stub, first) as (again, _):
            assert again == first
        async with session(stub, "other") as (other, _):
            assert other != first
            with pytest.raises(GRPCError) as caught:
                await ended(stream)
            assert (caught.value.status, caught.value.message) == (Status.INVALID_ARGUMENT, "session invalid")


async def test_a_description_is_written_when_it_changed_no_larger_and_no_more_often_than_it_may_be() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        commits = len(leader.store.commits)
        async with session(stub, session_id):
            assert len(leader.store.commits) == commits  # it says nothing new
        large = api.NodeDescription(hostname="h" * (MAX_DESCRIPTION_BYTES + 1))
        with pytest.raises(GRPCError, match="description") as refusal:
            await stub.Session(api.SessionRequest(description=large, session_id=session_id))
        assert refusal.value.status is Status.INVALID_ARGUMENT
        written = 0
        for number in range(40):
            changed = api.NodeDescription(hostname=f"host-{number}")
            async with stub.Session.open() as stream:
                await stream.send_message(api.SessionRequest(description=changed, session_id=session_id), end=True)
                try:
                    written += await stream.recv_message() is not None
                    await stream.cancel()
                except GRPCError as error:
                    assert error.status is Status.UNAVAILABLE  # noqa: PT017 - it is one of many
        assert written == CHANGE_LIMIT
        assert len(leader.store.commits) <= commits + written
        await asyncio.sleep(REGISTRATION_QUIET + 1)
        for _ in range(10):  # as often as its certificate changes
            async with session(stub, session_id) as (resumed, _):
                assert resumed == session_id


async def test_a_node_that_reports_bad_states_changes_nothing_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    leader = Leader(task("t1", api.RUNNING))
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        for state in [700, 2_000_000_000, api.ORPHANED, api.REMOVE] * 5:
            status = api.TaskStatus(state=state)  # type: ignore[arg-type]
            await report(stub, session_id, "t1", status)
        assert leader.state("t1") == "RUNNING"
        assert len([line for line in caplog.messages if "no agent may report" in line]) == 2  # the 1st and the 10th
        await report(stub, session_id, "t1", api.TaskStatus(state=api.FAILED))
        assert leader.state("t1") == "FAILED"


async def test_a_node_that_reports_without_end_waits_and_the_others_do_not() -> None:
    heavy, light = task("t1", api.RUNNING), task("t2", api.RUNNING, "n2")
    heavy.spec.container.image = "i" * 1_000_000
    leader = Leader(heavy, light)
    loop = asyncio.get_running_loop()
    async with (
        leader.leads(),
        leader.node() as stub,
        session(stub) as (session_id, _),
        leader.node("n2") as other,
        session(other) as (other_id, _),
    ):
        began = loop.time()
        for number in range(40):
            await report(stub, session_id, "t1", api.TaskStatus(state=api.RUNNING, message=str(number)))
            before = loop.time()
            await report(other, other_id, "t2", api.TaskStatus(state=api.RUNNING, message=str(number)))
            assert loop.time() - before < 0.1
            await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
        assert loop.time() - began > (40e6 - BURST_BYTES) / BYTES_A_SECOND - 1


async def report(stub: DispatcherStub, session_id: str, task_id: str, status: api.TaskStatus) -> None:
    update = api.UpdateTaskStatusRequest.TaskStatusUpdate(task_id=task_id, status=status)
    await stub.UpdateTaskStatus(api.UpdateTaskStatusRequest(session_id=session_id, updates=[update]))


async def test_a_silent_node_goes_down_and_a_day_later_its_tasks_are_orphans() -> None:
    leader = Leader(task("t1", api.RUNNING), task("t2", api.COMPLETE))
    async with leader.leads():
        async with leader.node() as stub, session(stub):
            assert leader.status() == ("READY", "")
            await asyncio.sleep(17)
            assert leader.status() == ("DOWN", "heartbeat failure")
        await asyncio.sleep(ORPHAN_AFTER - 60)
        assert leader.state("t1") == "RUNNING"
        await asyncio.sleep(60)
        assert (leader.state("t1"), leader.state("t2")) == ("ORPHANED", "COMPLETE")


async def test_heartbeats_keep_a_node_ready() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        for _ in range(20):
            reply = await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
            assert 4.5 <= seconds(reply.period) <= 5.5
            await asyncio.sleep(seconds(reply.period))
        assert leader.status() == ("READY", "")


async def test_under_a_new_leader_nodes_are_unknown_and_go_down_later_than_else() -> None:
    down = api.Node(id="n2", status={"state": api.NodeStatus.DOWN, "message": "heartbeat failure"})
    leader = Leader(nodes=[api.Node(id="n1", status={"state": api.NodeStatus.READY}), down])
    async with leader.leads():
        moved = 'Node moved to "unknown" state due to leadership change in cluster'
        assert leader.status() == ("UNKNOWN", moved)
        assert leader.status("n2") == ("DOWN", "heartbeat failure")
        await asyncio.sleep(26)
        assert leader.status() == ("UNKNOWN", moved)
        await asyncio.sleep(8)
        assert leader.status() == ("DOWN", 'heartbeat failure for node in "unknown" state')


async def test_a_host_that_is_gone_is_not_waited_for() -> None:
    leader = Leader()
    async with leader.leads(), leader.node("n2", "192.0.2.8") as other, session(other), leader.node() as stub:
        async with session(stub):
            await asyncio.sleep(1)
            assert ("192.0.2.7", 7946) in leader.hosts.asked
            leader.hosts.silent.add("192.0.2.7")
        # The kernel has ended its connection. That alone says nothing yet.
        await asyncio.sleep(2.5)
        assert leader.status() == ("READY", "")
        await asyncio.sleep(1)
        assert leader.status() == ("DOWN", "heartbeat failure")
        assert leader.status("n2") == ("READY", "")
        leader.hosts.silent.clear()
        async with session(stub):
            assert leader.status() == ("READY", "")


async def test_a_daemon_that_is_gone_has_three_heartbeats_to_come_back() -> None:
    leader = Leader()
    async with leader.leads(), leader.node("n2", "192.0.2.8") as other, session(other):
        async with leader.node() as stub, session(stub):
            await asyncio.sleep(1)
        await asyncio.sleep(11)
        assert leader.status() == ("READY", "")


async def test_a_leader_that_hears_nobody_waits_as_long_as_ever() -> None:
    leader = Leader()
    async with leader.leads():
        async with leader.node("n2", "192.0.2.8") as other, session(other), leader.node() as stub, session(stub):
            await asyncio.sleep(1)
            leader.hosts.silent = {"192.0.2.7", "192.0.2.8"}
        await asyncio.sleep(11)
        assert (leader.status(), leader.status("n2")) == (("READY", ""), ("READY", ""))
        await asyncio.sleep(6)
        assert leader.status() == ("DOWN", "heartbeat failure")


@pytest.mark.parametrize(
    ("silent", "reachable", "down_at"), [(False, False, 16.0), (False, True, 32.0), (True, False, 7.0)]
)
async def test_a_manager_of_the_leader_before_is_waited_for_as_long_as_it_may_come(
    silent: bool, reachable: bool, down_at: float
) -> None:
    former = api.Node(id="m2", status={"state": api.NodeStatus.READY, "addr": "192.0.2.9"})
    former.manager_status.addr = "192.0.2.9:2377"
    leader = Leader(nodes=[api.Node(id="n1"), api.Node(id="n2"), former])
    if silent:
        leader.hosts.silent.add("192.0.2.9")
    if reachable:
        leader.reachable.add("m2")
    async with leader.leads():
        await asyncio.sleep(down_at - 3)
        assert leader.status("m2")[0] == "UNKNOWN"
        await asyncio.sleep(3)
        assert leader.status("m2") == ("DOWN", 'heartbeat failure for node in "unknown" state')
        assert set(leader.hosts.asked) == {("192.0.2.9", 2377)}


async def test_a_leader_that_stops_sends_its_nodes_away() -> None:
    leader = Leader()
    async with leader.node() as stub:
        async with leader.leads():
            stream = await stub.Session.open().__aenter__()
            await stream.send_message(api.SessionRequest(description=DESCRIPTION), end=True)
            await stream.recv_message()
        with pytest.raises(GRPCError) as caught:
            await ended(stream)
        assert (caught.value.status, caught.value.message) == (Status.ABORTED, "node must disconnect")
        assert leader.status() == ("DISCONNECTED", "node is currently trying to find new manager")


async def test_a_leader_without_quorum_still_stops() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub):
        leader.store.quorum = False
    assert leader.store.refused == 1
    assert leader.status() == ("READY", "")


async def test_assignments_are_sent_as_they_are_committed_and_coalesced_while_one_is_sent() -> None:
    leader = Leader(task("t1"), task("t9", node_id="n2"), task("t8", api.PENDING))
    async with (
        leader.leads(),
        leader.node() as stub,
        session(stub) as (session_id, _),
        stub.Assignments.open() as stream,
    ):
        await stream.send_message(api.AssignmentsRequest(session_id=session_id), end=True)
        first = await stream.recv_message()
        assert first is not None
        assert (first.type, first.applies_to, first.results_in) == (api.AssignmentsMessage.COMPLETE, "", "1")
        assert [change.assignment.task.id for change in first.changes] == ["t1"]
        started = asyncio.get_running_loop().time()

        def assign(tx: object) -> None:
            for n in range(100):
                tx.create(task(f"new-{n}"))  # type: ignore[attr-defined]
            tx.remove(api.Task, "t1")  # type: ignore[attr-defined]

        await leader.store.update(assign)
        second = await stream.recv_message()
        assert second is not None
        assert (second.applies_to, second.results_in, len(second.changes)) == ("1", "2", 101)
        assert asyncio.get_running_loop().time() == started  # nothing waits for more to come
        await stream.cancel()


async def test_a_report_is_durable_once_it_is_acknowledged() -> None:
    leader = Leader(task("t1"), task("t2", node_id="n2"))
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        update = api.UpdateTaskStatusRequest.TaskStatusUpdate(task_id="t1", status={"state": api.RUNNING})
        request = api.UpdateTaskStatusRequest(session_id=session_id, updates=[update])
        leader.store.quorum = False
        with pytest.raises(GRPCError) as caught:
            await stub.UpdateTaskStatus(request)
        assert caught.value.status is Status.UNAVAILABLE
        leader.store.quorum = True
        await stub.UpdateTaskStatus(request)
        found = leader.store.view().tasks.get("t1")
        assert found is not None
        assert found.status == api.TaskStatus(state=api.RUNNING, applied_by="m1", applied_at={"seconds": 1000})
        request.updates[0].task_id = "t2"
        with pytest.raises(GRPCError) as caught:
            await stub.UpdateTaskStatus(request)
        assert caught.value.message == "cannot update a task not assigned this node"


async def test_a_removed_node_is_cut_off() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        await leader.store.update(lambda tx: tx.remove(api.Node, "n1"))
        await asyncio.sleep(1)
        with pytest.raises(GRPCError) as caught:
            await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "node not registered")


async def test_old_agents_get_whole_lists() -> None:
    leader = Leader(task("t1"))
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _), stub.Tasks.open() as stream:
        await stream.send_message(api.TasksRequest(session_id=session_id), end=True)
        first = await stream.recv_message()
        await leader.store.update(lambda tx: tx.create(task("t2")))
        second = await stream.recv_message()
        assert first is not None
        assert second is not None
        assert [len(first.tasks), len(second.tasks)] == [1, 2]
        await stream.cancel()


async def test_volume_reports_need_a_session_and_change_nothing_yet() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        await stub.UpdateVolumeStatus(api.UpdateVolumeStatusRequest(session_id=session_id))
        with pytest.raises(GRPCError):
            await stub.UpdateVolumeStatus(api.UpdateVolumeStatusRequest())


async def test_a_dispatcher_that_fell_behind_reads_everything_again() -> None:
    leader = Leader(task("t1"))
    async with (
        leader.leads(),
        leader.node() as stub,
        session(stub) as (session_id, _),
        stub.Assignments.open() as stream,
    ):
        await stream.send_message(api.AssignmentsRequest(session_id=session_id), end=True)
        await stream.recv_message()
        for watch in leader.store._watches._watches:
            watch._lagged = True

        def replace(tx: Any) -> None:
            tx.create(task("t2"))
            tx.remove(api.Task, "t1")

        await leader.store.update(replace)
        for watch in leader.store._watches._watches:
            watch._changed.set()
        message = await stream.recv_message()
        assert message is not None
        told = {(change.assignment.task.id, change.action) for change in message.changes}
        assert told >= {("t1", api.AssignmentChange.REMOVE), ("t2", api.AssignmentChange.UPDATE)}
        await stream.cancel()
