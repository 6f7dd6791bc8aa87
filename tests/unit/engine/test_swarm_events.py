"""Events of the swarm, whatever its objects contain."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.engine import swarm_events
from shoal.engine.swarm_events import KINDS, SwarmEvents, event
from shoal.store.changes import Event, copy
from shoal.store.watch import Watches
from tests.harness.hostile import messages


def bad_task() -> api.Task:
    made = api.Task(id="t1", status={"state": 700, "err": "no"}, desired_state=2_000_000_000)  # type: ignore[arg-type]
    made.status.timestamp.seconds = 1 << 60
    return made


def test_a_task_in_a_state_that_there_is_not_has_an_event() -> None:
    before = api.Task(id="t1", status={"state": api.RUNNING}, desired_state=api.RUNNING)
    told = event("update", bad_task(), before, 5).attributes
    assert (told["state.old"], told["state.new"]) == ("running", "unknown (700)")
    assert told["desiredstate.new"] == "unknown (2000000000)"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_object_has_events(kind: Any, data: st.DataObject) -> None:
    old, new = data.draw(messages(kind)), data.draw(messages(kind))
    for action in ("create", "update", "remove"):
        told = event(action, new, old, 5)
        assert all(isinstance(value, str) for value in told.attributes.values())


class _Node:
    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    async def wait_manager(self) -> None:
        return

    def watch(self, *kinds: type) -> Any:
        return self._watches.add(frozenset(kinds))


async def test_an_object_that_fails_costs_its_own_event_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def attributes(obj: Any, old: Any) -> dict[str, str]:
        if obj.id == "bad":
            raise KeyError(700)
        return {}

    monkeypatch.setattr(swarm_events, "attributes", attributes)
    watches, told = Watches(), SwarmEvents()
    async with asyncio.TaskGroup() as group:
        child = group.create_task(told.run(_Node(watches)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task = api.Task(id="t1")
        for _ in range(20):
            bad = copy(task)
            bad.id = "bad"
            watches.publish([Event("update", bad, task), Event("create", task, None)])
            for _ in range(3):
                await asyncio.sleep(0)
        child.cancel()
    assert [each.id for each in told.tasks.since(0)] == ["t1"] * 20
    assert len(caplog.records) == 2  # at the 1st and the 10th
