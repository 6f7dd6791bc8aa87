"""The streams that nodes hold open."""

import contextlib

import pytest

from shoal.api import v1 as api
from shoal.api.gen.views_pb2 import ViewRequest
from shoal.errors import Unavailable
from shoal.manager.dispatcher.assignments import AssignmentSet
from shoal.manager.dispatcher.streams import STREAMS_PER_NODE, Streams


def nothing(_: str) -> None:
    return None


def task(task_id: str) -> api.Task:
    return api.Task(id=task_id, node_id="n1", status={"state": api.ASSIGNED})


async def test_only_those_are_woken_that_are_meant() -> None:
    streams = Streams()
    with (
        streams.hold("n1", None) as session,
        streams.hold("n1", AssignmentSet(nothing, nothing)) as told,
        streams.hold("n2", AssignmentSet(nothing, nothing)) as other,
    ):
        streams.wake_sessions()
        assert [held.wake.is_set() for held in (session, told, other)] == [True, False, False]
        streams.put_task("t1", "n1", task("t1"))
        assert [held.wake.is_set() for held in (session, told, other)] == [True, True, False]
        assert told.assignments is not None
        assert [change.assignment.task.id for change in told.assignments.take()] == ["t1"]
        streams.put_task("t1", "n1", None)
        assert told.assignments.take()[0].action == api.AssignmentChange.REMOVE
        streams.resync(lambda node_id: [task("t2")] if node_id == "n1" else [])
        assert told.assignments.take()[0].assignment.task.id == "t2"
        streams.wake_all()
        assert other.wake.is_set()


async def test_a_node_is_asked_by_its_sessions_once_each() -> None:
    streams = Streams()
    request = ViewRequest(id="q")
    with streams.hold("n1", None) as session, streams.hold("n1", AssignmentSet(nothing, nothing)) as told:
        assert streams.ask("n1", request)
        assert not streams.ask("n2", request)
        assert [held.wake.is_set() for held in (session, told)] == [True, False]
        assert session.take_asked() == [request]
        assert session.take_asked() == told.take_asked() == []
    assert not streams.ask("n1", request)


async def test_a_node_has_so_many_streams_and_may_open_others_when_some_end() -> None:
    streams = Streams()
    with contextlib.ExitStack() as held:
        for _ in range(STREAMS_PER_NODE):
            held.enter_context(streams.hold("n1", None))
        with pytest.raises(Unavailable, match="too many open streams"), streams.hold("n1", None):
            pass
        with streams.hold("n2", None):
            pass
    with streams.hold("n1", None):
        pass
