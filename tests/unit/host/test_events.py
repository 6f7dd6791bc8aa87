"""The event bus is bounded, ordered and never waits."""

import asyncio

from shoal.host.events import KEPT, QUEUED, Event, EventBus


def event(number: int) -> Event:
    return Event("container", "start", str(number), {}, number)


async def test_a_subscriber_sees_what_is_published_while_it_listens() -> None:
    bus = EventBus()
    bus.publish(event(1))
    with bus.subscribe() as events:
        bus.publish(event(2))
        bus.publish(event(3))
        assert [(await events.next()).id, (await events.next()).id] == ["2", "3"]


async def test_a_waiting_subscriber_is_woken() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        asyncio.get_running_loop().call_soon(bus.publish, event(7))
        async with asyncio.timeout(60):
            assert (await events.next()).id == "7"


def test_only_the_last_events_are_kept() -> None:
    bus = EventBus()
    for number in range(KEPT + 10):
        bus.publish(event(number))
    assert [kept.at_nanos for kept in bus.since(0)] == list(range(10, KEPT + 10))
    assert [kept.at_nanos for kept in bus.since(KEPT + 8)] == [KEPT + 8, KEPT + 9]


async def test_a_slow_subscriber_loses_the_oldest_and_knows_how_many() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        for number in range(QUEUED + 3):
            bus.publish(event(number))
        assert events.dropped == 3
        assert (await events.next()).id == "3"


def test_events_of_one_instant_keep_their_order() -> None:
    bus = EventBus()
    for _ in range(100):
        bus.emit("container", "start", "x", {})
    stamps = [kept.at_nanos for kept in bus.since(0)]
    assert stamps == sorted(set(stamps))
