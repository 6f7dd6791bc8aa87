import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from shoal.api import v1 as api
from shoal.engine.backend import Backend
from shoal.engine.events import event_json, included
from shoal.engine.requests import Filters
from shoal.host.events import Event
from shoal.store.changes import copy
from tests.unit.engine.fakes import backend, client, manager_node

STARTED = Event("container", "start", "c1", {"name": "web", "image": "busybox:1", "tier": "front"}, 1_500_000_000)


async def lines(answer: Any) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        yield json.loads(line)


def test_an_event_has_the_older_fields_too() -> None:
    assert event_json(STARTED) == {
        "status": "start",
        "id": "c1",
        "from": "busybox:1",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c1", "Attributes": {"image": "busybox:1", "name": "web", "tier": "front"}},
        "scope": "local",
        "time": 1,
        "timeNano": 1_500_000_000,
    }


def test_filters_choose_events() -> None:
    execed = Event("container", "exec_create: ls", "c1", {}, 0)
    task = Event("task", "update", "t1", {"name": "web.1.t1", "service.name": "web", "node.id": "n1"}, 0, "swarm")
    for event, filters, passes in (
        (STARTED, {}, True),
        (STARTED, {"type": ["container"]}, True),
        (STARTED, {"type": ["image"]}, False),
        (STARTED, {"event": ["start"]}, True),
        (STARTED, {"event": ["sta"]}, False),
        (execed, {"event": ["exec_create"]}, True),
        (STARTED, {"container": ["we"]}, True),
        (STARTED, {"container": ["x"]}, False),
        (STARTED, {"image": ["busybox"]}, True),
        (STARTED, {"image": ["alpine"]}, False),
        (STARTED, {"label": ["tier=front"]}, True),
        (STARTED, {"label": ["tier=back"]}, False),
        (STARTED, {"scope": ["swarm"]}, False),
        (STARTED, {"service": ["web"]}, True),  # Docker compares the name whatever the event's type is.
        (task, {"service": ["web"]}, True),
        (task, {"node": ["n1"]}, True),
        (task, {"node": ["n2"]}, False),
    ):
        assert included(event, Filters.parse(json.dumps(filters))) is passes, filters


async def test_past_events_are_told_and_new_ones_as_they_come() -> None:
    parts = backend()
    parts.events.publish(STARTED)
    async with client(parts) as http:
        answer = await http.get("/events?since=1&until=2")
        assert [each["id"] async for each in lines(answer)] == ["c1"]
        assert [each async for each in lines(await http.get("/events?since=2&until=3"))] == []
        answer = await http.get("/events")
        assert answer.headers["Content-Type"] == "application/json"
        parts.events.publish(Event("image", "pull", "busybox:1", {"name": "busybox"}, 2_000_000_000))
        stream = lines(answer)
        assert (await anext(stream))["Action"] == "pull"
        answer.close()


async def test_wrong_times_are_refused() -> None:
    async with client() as http:
        answer = await http.get("/events?since=x")
        assert (answer.status, await answer.json()) == (
            400,
            {"message": 'invalid value for \'since\': invalid timestamp "x": invalid seconds "x": invalid syntax'},
        )
        answer = await http.get("/events?since=5&until=4")
        assert (await answer.json())["message"] == "`since` time (5) cannot be after `until` time (4)"


async def test_changes_in_the_swarm_are_told_of_services_and_of_tasks() -> None:
    service = api.Service(
        id="s1",
        spec=api.ServiceSpec(annotations=api.Annotations(name="web"), replicated=api.ReplicatedService(replicas=1)),
    )
    node, store = manager_node(service)
    parts: Backend = backend(node=node)
    async with client(parts) as http, asyncio.TaskGroup() as group:
        pump = group.create_task(parts.swarm_events.run(node))
        await asyncio.sleep(0)
        stream = lines(await http.get("/events", params={"filters": '{"scope":["swarm"]}'}))
        scaled = copy(service)
        scaled.meta.CopyFrom(store.view().services.get("s1").meta)  # type: ignore[union-attr]
        scaled.spec.replicated.replicas = 4
        await store.update(lambda transaction: transaction.update(scaled))
        told = await anext(stream)
        assert (told["Type"], told["Action"], told["scope"]) == ("service", "update", "swarm")
        assert told["Actor"] == {
            "ID": "s1",
            "Attributes": {"name": "web", "replicas.old": "1", "replicas.new": "4"},
        }
        task = api.Task(
            id="t1",
            service_id="s1",
            slot=2,
            node_id="n1",
            desired_state=api.RUNNING,
            service_annotations=api.Annotations(name="web"),
        )
        await store.update(lambda transaction: transaction.create(task))
        assert (await anext(stream))["Actor"] == {
            "ID": "t1",
            "Attributes": {
                "name": "web.2.t1",
                "service.id": "s1",
                "service.name": "web",
                "node.id": "n1",
                "slot": "2",
                "state": "new",
                "desiredstate": "running",
            },
        }
        running = copy(task)
        running.meta.CopyFrom(store.view().tasks.get("t1").meta)  # type: ignore[union-attr]
        running.status.state = api.RUNNING
        await store.update(lambda transaction: transaction.update(running))
        attributes = (await anext(stream))["Actor"]["Attributes"]
        assert (attributes["state.old"], attributes["state.new"]) == ("new", "running")
        pump.cancel()
