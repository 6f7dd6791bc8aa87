"""A bounded queue from several writers to one reader. Both sides can end it. For tasks of one event loop."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from shoal.errors import ShoalError

T = TypeVar("T")


class Pipe(Generic[T]):
    """A queue of items with weights. Writers wait while the sum is at `limit`. Items from before the end are read."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._ended = False
        self._error: ShoalError | None = None
        self._abandoned = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def put(self, item: T, weight: int = 1) -> bool:
        """Wait for room and add an item. Return False if the queue has ended or nobody reads it any more."""
        while not (self._ended or self._abandoned) and self._weight >= self._limit:
            self._writable.clear()
            await self._writable.wait()
        return self._add(item, weight)

    def put_nowait(self, item: T, weight: int = 1) -> bool:
        """Add an item. Return False if there is no room or nobody reads."""
        return self._weight < self._limit and self._add(item, weight)

    def end(self, error: ShoalError | None = None) -> None:
        """End the queue. The reader still gets the queued items, then the end or the error. May be repeated."""
        if not self._ended:
            self._ended, self._error = True, error
        self._readable.set()
        self._writable.set()

    def abandon(self) -> None:
        """Stop reading: drop the items and release waiting writers."""
        self._abandoned = True
        self._items.clear()
        self._writable.set()

    async def get(self) -> T | None:
        """Wait for the next item and return it; None at the end. Raises the error with which the queue was ended."""
        while not self._items:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._readable.clear()
            await self._readable.wait()
        item, weight = self._items.popleft()
        self._weight -= weight
        self._writable.set()
        return item

    def _add(self, item: T, weight: int) -> bool:
        if self._ended or self._abandoned:
            return False
        self._items.append((item, weight))
        self._weight += weight
        self._readable.set()
        return True
