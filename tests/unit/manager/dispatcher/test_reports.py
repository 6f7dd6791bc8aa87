"""Reports of nodes, over gRPC in memory, in virtual time."""

import asyncio
from collections import Counter

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.manager.dispatcher.budgets import BURST_BYTES, BYTES_A_SECOND
from tests.unit.manager.dispatcher.leaders import Leader, session, task

pytestmark = pytest.mark.looptime


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


async def test_what_a_call_holds_besides_its_statuses_counts() -> None:
    """Hundreds of calls could wait for their turn at once, each with megabytes that nobody writes."""
    leader = Leader(task("t1", api.RUNNING))
    async with leader.leads(), leader.node() as stub, session(stub) as (session_id, _):
        request = api.UpdateTaskStatusRequest(session_id=session_id)
        request.updates.add(task_id="t1", status=api.TaskStatus(state=api.RUNNING, message="m"))
        request.updates.add(task_id="another's", status=api.TaskStatus(err="e" * 3_000_000))

        async def once() -> Status:
            try:
                await stub.UpdateTaskStatus(request)
            except GRPCError as error:
                return error.status
            return Status.OK

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(once()) for _ in range(40)]
        told = Counter(call.result() for call in calls)
    assert set(told) == {Status.OK, Status.UNAVAILABLE}
    assert told[Status.OK] < 12


async def report(stub: DispatcherStub, session_id: str, task_id: str, status: api.TaskStatus) -> None:
    update = api.UpdateTaskStatusRequest.TaskStatusUpdate(task_id=task_id, status=status)
    await stub.UpdateTaskStatus(api.UpdateTaskStatusRequest(session_id=session_id, updates=[update]))


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
