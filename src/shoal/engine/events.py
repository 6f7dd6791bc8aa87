"""`GET /events`: the events of this host and of the swarm, recent ones and new ones, with one JSON value in each line.

Source of the shape and of the filters: moby api/types/events, daemon/events/filter.go.
"""

import asyncio
import time
from typing import Any

from aiohttp import web

from shoal.api import times
from shoal.engine.requests import Call, Filters
from shoal.engine.streams import start_json_stream, write_json
from shoal.engine.timestamps import unix_timestamp
from shoal.errors import InvalidArgument
from shoal.host.events import Event, EventBus, Subscription

# Actions that may continue after a colon. A filter for one of them matches the beginning of an action.
_PREFIX_ACTIONS = frozenset({"health_status", "exec_create", "exec_start"})

# Types of events that a filter can name an object of.
_NAMED = ("daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config", "task")


def event_json(event: Event) -> dict[str, Any]:
    """Return an event in Docker's JSON, including the older fields that clients before 1.52 need."""
    shown: dict[str, Any] = {}
    if event.type in ("container", "image"):
        shown |= {"status": event.action, "id": event.id}
    if event.type == "container":
        shown["from"] = event.attributes.get("image", "")
    return shown | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(sorted(event.attributes.items()))},
        "scope": event.scope,
        "time": event.at_nanos // times.NANOS,
        "timeNano": event.at_nanos,
    }


def included(event: Event, filters: Filters) -> bool:
    """Return whether an event passes the filters."""
    actions = filters.get("event")
    fits = filters.prefix if _PREFIX_ACTIONS.intersection(actions) else filters.exact
    return (
        fits("event", event.action)
        and filters.exact("type", event.type)
        and filters.exact("scope", event.scope)
        and all(_names(event, key, filters) for key in _NAMED if key in filters)
        and _of_image(event, filters)
        and filters.labels("label", event.attributes)
    )


def _names(event: Event, key: str, filters: Filters) -> bool:
    known = [event.id, event.attributes.get("name", "")]
    if event.type == "task":
        # A task also matches by its service and its node.
        known += [event.attributes.get(f"{key}.{part}", "") for part in ("id", "name")]
    return any(filters.prefix(key, each) for each in known)


def _of_image(event: Event, filters: Filters) -> bool:
    if "image" not in filters:
        return True
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    return any(filters.exact("image", each) for each in (event.id, name, _without_tag(event.id), _without_tag(name)))


def _without_tag(image: str) -> str:
    head, separator, tail = image.partition("@")[0].rpartition(":")
    return head if separator and "/" not in tail else image.partition("@")[0]


async def stream_events(call: Call) -> web.StreamResponse:
    """GET /events."""
    since = unix_timestamp(call.query("since"), "'since'")
    until = unix_timestamp(call.query("until"), "'until'")
    if until and until < since:
        raise InvalidArgument(
            f"`since` time ({call.query('since')}) cannot be after `until` time ({call.query('until')})"
        )
    filters = call.filters()
    buses = (call.backend.events, call.backend.swarm_events.objects, call.backend.swarm_events.tasks)
    with _subscribed(buses) as subscription:
        response = await start_json_stream(call)
        for event in _past(buses, since, until):
            if included(event, filters):
                await write_json(response, event_json(event))
        now = time.time_ns()
        if not until or until > now:
            await _follow(subscription, response, filters, (until - now) / times.NANOS if until else None)
    await response.write_eof()
    return response


class _subscribed:  # noqa: N801 - used as a function
    """One subscription to several buses, for the time of a call."""

    def __init__(self, buses: tuple[EventBus, ...]) -> None:
        self._buses = buses
        self._subscription = Subscription(buses[0])

    def __enter__(self) -> Subscription:
        for bus in self._buses:
            bus.attach(self._subscription)
        return self._subscription

    def __exit__(self, *_: object) -> None:
        for bus in self._buses:
            bus.detach(self._subscription)


def _past(buses: tuple[EventBus, ...], since: int, until: int) -> list[Event]:
    if not since and not until:
        return []
    found = [event for bus in buses for event in bus.since(since) if not until or event.at_nanos <= until]
    return sorted(found, key=lambda event: event.at_nanos)


async def _follow(
    subscription: Subscription, response: web.StreamResponse, filters: Filters, seconds: float | None
) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                event = await subscription.next()
                if included(event, filters):
                    await write_json(response, event_json(event))
    except TimeoutError:
        pass  # `until` is reached


ROUTES = [("GET", "/events", stream_events)]
