"""The dispatcher over gRPC in memory, under virtual time."""

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.views_pb2 import ViewRequest
from shoal.store.changes import copy
from tests.unit.manager.dispatcher.leaders import DESCRIPTION, Leader, ended, session, task

pytestmark = pytest.mark.looptime


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


async def test_a_node_is_asked_in_a_message_of_its_session_and_once() -> None:
    leader = Leader()
    assert not leader.dispatcher.ask("n1", ViewRequest(id="q"))
    async with leader.leads(), leader.node() as stub, session(stub) as (_, stream):
        assert not leader.dispatcher.ask("n2", ViewRequest(id="q"))
        assert leader.dispatcher.ask("n1", ViewRequest(id="q", network_ids=["blue"]))
        asked = await stream.recv_message()
        assert asked is not None
        assert list(asked.view_requests) == [ViewRequest(id="q", network_ids=["blue"])]
        assert asked.managers
        leader.dispatcher.membership_changed()
        assert leader.dispatcher.ask("n1", ViewRequest(id="other"))
        again = await stream.recv_message()
        assert again is not None
        assert [each.id for each in again.view_requests] == ["other"]


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
