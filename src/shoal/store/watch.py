"""Tells readers about commits. A `Watch` is one reader's bounded queue of events; `Watches` has all of a store.

In: the events of a commit, published without waiting. Out: lists of events. A reader that is too slow loses all queued
events and gets WatchLagged; then it must read the view again. For one event loop.
"""

import asyncio
from types import TracebackType
from typing import Self

from shoal.errors import InvariantBroken, Unavailable
from shoal.store.changes import Event

__all__ = ["Event", "Watch", "WatchLagged", "Watches"]

# A reader that is this many events behind had better read the view again. It is about four times the largest number of
# tasks that the simulations schedule at once; an event takes three pointers.
MAX_EVENTS = 40_000


class WatchLagged(Exception):
    """Events were dropped, because the reader was too slow. Read the view again; the watch goes on from there."""


class Watch:
    """Events of the kinds asked for, since the watch was made. A context manager for one reader."""

    def __init__(self, owner: "Watches", kinds: frozenset[type], max_events: int = MAX_EVENTS) -> None:
        self._owner = owner
        self._kinds = kinds
        self._max_events = max_events
        self._events: list[Event] = []
        self._lagged = False
        self._closed: str | None = None
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.remove(self)

    async def next(self) -> list[Event]:
        """Wait for events, and return all that are queued. Those of one commit stay together, in order.

        Raises WatchLagged once after events were dropped; the view is then newer than all of them. Raises Unavailable
        when the store was closed. A cancelled call loses nothing.
        """
        await self._changed.wait()
        events = self.pending()
        if not events:
            raise InvariantBroken("a watch woke up without a reason: two readers?")
        return events

    def pending(self) -> list[Event]:
        """Return what `next` would return without waiting, or nothing. Raises what `next` would raise."""
        if self._lagged:
            self._lagged = False
            self._settle()
            raise WatchLagged
        if self._events:
            events, self._events = self._events, []
            self._settle()
            return events
        if self._closed is not None:
            raise Unavailable(self._closed)
        return []

    def _settle(self) -> None:
        if not self._events and self._closed is None:
            self._changed.clear()

    def offer(self, events: list[Event], kinds: set[type]) -> None:
        """Queue the events that this watch wants. `kinds` are the kinds among the events."""
        if self._lagged or self._closed is not None or not (self._kinds & kinds):
            return
        wanted = events if kinds <= self._kinds else [event for event in events if type(event.obj) in self._kinds]
        if len(self._events) + len(wanted) > self._max_events:
            self._events.clear()
            self._lagged = True
        else:
            self._events.extend(wanted)
        self._changed.set()

    def close(self, reason: str) -> None:
        """Let the reader get the queued events, and then Unavailable with this reason."""
        self._closed = self._closed or reason
        self._changed.set()


class Watches:
    """Every watch of one store."""

    def __init__(self) -> None:
        self._watches: dict[Watch, None] = {}
        self._closed: str | None = None

    def add(self, kinds: frozenset[type], max_events: int = MAX_EVENTS) -> Watch:
        """Return a new watch for these kinds. It hears from now on, also before it is entered."""
        watch = Watch(self, kinds, max_events)
        self._watches[watch] = None
        if self._closed is not None:
            watch.close(self._closed)
        return watch

    def remove(self, watch: Watch) -> None:
        """Send nothing more to a watch. May be repeated."""
        self._watches.pop(watch, None)

    def publish(self, events: list[Event]) -> None:
        """Send the events of one commit to every watch."""
        kinds: set[type] = {type(event.obj) for event in events}
        for watch in self._watches:
            watch.offer(events, kinds)

    def close(self, reason: str) -> None:
        """End every watch, present and future."""
        self._closed = self._closed or reason
        for watch in self._watches:
            watch.close(reason)
