"""The events of this host: what happened to containers, images, volumes and networks.

In: `publish`, which never waits. Out: subscribers, each with a bounded queue, and the last 256 events for requests with
"since". For the event loop's thread only.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

# As in Docker: moby daemon/events/events.go, eventsLimit.
KEPT = 256

# A subscriber that is this far behind has stopped reading. It loses the oldest events; `dropped` counts them.
QUEUED = 4096


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on this host. Types and actions are Docker's."""

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    at_nanos: int
    scope: Literal["local", "swarm"] = "local"


class Subscription:
    """One reader of the bus. If its queue is full, a new event displaces the oldest."""

    def __init__(self, bus: "EventBus") -> None:
        self._bus = bus
        self._queue: deque[Event] = deque(maxlen=QUEUED)
        self._ready = asyncio.Event()
        self.dropped = 0

    def __enter__(self) -> Self:
        self._bus.attach(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bus.detach(self)

    async def next(self) -> Event:
        """Wait for the next event and return it."""
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def put(self, event: Event) -> None:
        """Queue an event. Only for the bus."""
        if len(self._queue) == QUEUED:
            self.dropped += 1
        self._queue.append(event)
        self._ready.set()


class EventBus:
    """Where events are published and read."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._subscriptions: set[Subscription] = set()
        self._last_nanos = 0

    def publish(self, event: Event) -> None:
        """Give an event to all subscribers. Never waits, never fails."""
        self._kept.append(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    def emit(
        self,
        type: str,  # noqa: A002 - Docker's own word for it
        action: str,
        id: str,  # noqa: A002
        attributes: Mapping[str, str],
        scope: Literal["local", "swarm"] = "local",
    ) -> None:
        """Publish an event of this moment."""
        # No two events have the same time, so that a reader that sorts or filters by time keeps their order.
        self._last_nanos = max(time.time_ns(), self._last_nanos + 1)
        self.publish(Event(type, action, id, attributes, self._last_nanos, scope))

    def subscribe(self) -> Subscription:
        """Return a context manager. Events that are published within it are read with `next`."""
        return Subscription(self)

    def since(self, nanos: int) -> list[Event]:
        """Return the kept events since an instant in nanoseconds since 1970, oldest first."""
        return [event for event in self._kept if event.at_nanos >= nanos]

    def attach(self, subscription: Subscription) -> None:
        """Add a subscription. Only for Subscription."""
        self._subscriptions.add(subscription)

    def detach(self, subscription: Subscription) -> None:
        """Remove a subscription. Only for Subscription."""
        self._subscriptions.discard(subscription)
