"""What nodes are sent after commits, over gRPC in memory, in virtual time."""

import asyncio
from typing import Any

import pytest

from shoal.api import v1 as api
from tests.unit.manager.dispatcher.leaders import Leader, session, task

pytestmark = pytest.mark.looptime


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
        assert asyncio.get_running_loop().time() == started  # nothing waits for more changes
        await stream.cancel()


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
