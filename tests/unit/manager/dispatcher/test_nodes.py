"""Which nodes are registered and which are silent, over gRPC in memory, in virtual time."""

import asyncio

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.times import seconds
from shoal.manager.dispatcher.node_states import MAX_DESCRIPTION_BYTES
from shoal.manager.dispatcher.sessions import CHANGE_LIMIT, ORPHAN_AFTER, REGISTRATION_QUIET
from tests.unit.manager.dispatcher.leaders import DESCRIPTION, Leader, ended, session, task

pytestmark = pytest.mark.looptime


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


async def test_a_node_at_rest_writes_nothing_and_keeps_its_session() -> None:
    """Known fault 71: a list that was empty in one description and absent in the next one counted as a change."""
    leader = Leader(task("t1", api.RUNNING), nodes=[api.Node(id="n1")])
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        async with stub.Assignments.open() as assignments:
            await assignments.send_message(api.AssignmentsRequest(session_id=session_id), end=True)
            assert await assignments.recv_message() is not None
            commits = len(leader.store.commits)
            until = asyncio.get_running_loop().time() + 300
            while asyncio.get_running_loop().time() < until:
                reply = await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
                await asyncio.sleep(seconds(reply.period))
            assert len(leader.store.commits) == commits
            await assignments.cancel()
        assert leader.status() == ("READY", "")


async def test_nodes_that_never_came_lengthen_no_period_under_a_new_leader() -> None:
    """A leaked token can make thousands of them, and a lost daemon must not be found later because of that."""
    ready = api.Node(id="n1", status={"state": api.NodeStatus.READY}, description=DESCRIPTION)
    leader = Leader(nodes=[ready, *(api.Node(id=f"x{number}") for number in range(2_000))])
    async with leader.leads():
        async with leader.node() as stub, session(stub) as (session_id, _):
            reply = await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
            assert 4.5 <= seconds(reply.period) <= 5.5
        await asyncio.sleep(17)
        assert leader.status()[0] == "DOWN"


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
        # The kernel has ended its connection. That alone proves nothing.
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


async def test_a_removed_node_is_cut_off() -> None:
    leader = Leader()
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        await leader.store.update(lambda tx: tx.remove(api.Node, "n1"))
        await asyncio.sleep(1)
        with pytest.raises(GRPCError) as caught:
            await stub.Heartbeat(api.HeartbeatRequest(session_id=session_id))
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "node not registered")
