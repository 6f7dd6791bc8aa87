import asyncio

import pytest

from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.store.changes import Event
from shoal.store.watch import Watches, WatchLagged
from tests.unit.store.objects import service, task

SERVICES = frozenset({api.Service})
BOTH = frozenset({api.Service, api.Task})


def created(obj: api.Service | api.Task) -> Event:
    return Event("create", obj, None)


async def test_events_come_in_order_and_those_of_several_commits_together() -> None:
    watches = Watches()
    with watches.add(BOTH) as watch:
        events = [created(service("s")), created(task("t")), created(task("u"))]
        watches.publish(events[:2])
        watches.publish(events[2:])
        assert await watch.next() == events


async def test_a_watch_hears_only_of_its_kinds() -> None:
    watches = Watches()
    with watches.add(SERVICES) as watch:
        watches.publish([created(task("t"))])
        assert not watch._changed.is_set()
        watches.publish([created(task("u")), created(service("s"))])
        assert await watch.next() == [created(service("s"))]


async def test_next_waits_and_a_cancelled_call_loses_nothing() -> None:
    watches = Watches()
    with watches.add(SERVICES) as watch:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await watch.next()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(watch.next())
            await asyncio.sleep(0)
            watches.publish([created(service("s"))])
        assert waiting.result() == [created(service("s"))]


async def test_a_slow_reader_loses_all_is_told_once_and_goes_on() -> None:
    watches = Watches()
    with watches.add(SERVICES, max_events=2) as watch:
        for name in "abc":
            watches.publish([created(service(name))])
        watches.publish([created(service("d"))])
        with pytest.raises(WatchLagged):
            await watch.next()
        watches.publish([created(service("e"))])
        assert await watch.next() == [created(service("e"))]


async def test_a_watch_that_was_left_hears_nothing() -> None:
    watches = Watches()
    with watches.add(SERVICES) as watch:
        pass
    watches.publish([created(service("s"))])
    assert watch._events == []


async def test_a_closed_store_gives_the_rest_and_then_its_reason() -> None:
    watches = Watches()
    with watches.add(SERVICES) as watch:
        watches.publish([created(service("s"))])
        watches.close("the store is closed")
        watches.close("another reason")
        assert await watch.next() == [created(service("s"))]
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"^the store is closed$"):
                await watch.next()
    with watches.add(SERVICES) as late, pytest.raises(Unavailable, match=r"^the store is closed$"):
        await late.next()


async def test_a_reader_that_lagged_hears_that_the_store_closed() -> None:
    watches = Watches()
    with watches.add(SERVICES, max_events=0) as watch:
        watches.publish([created(service("s"))])
        watches.close("the store is closed")
        with pytest.raises(WatchLagged):
            await watch.next()
        with pytest.raises(Unavailable):
            await watch.next()
