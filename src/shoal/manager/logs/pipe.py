"""A bounded queue from several writers to one reader, which can be ended from both sides. asyncio, one loop."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from shoal.errors import ShoalError

T = TypeVar("T")


class Pipe(Generic[T]):
    """Items with a weight. Writers wait while `limit` is reached; what was written before the end is still read."""

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
        """Add an item once there is room; return False where nobody reads any more."""
        while not (self._ended or self._abandoned) and self._weight >= self._limit:
            self._writable.clear()
            await self._writable.wait()
        return self._add(item, weight)

    def put_nowait(self, item: T, weight: int = 1) -> bool:
        """Add an item; return False where there is no room or no reader."""
        return self._weight < self._limit and self._add(item, weight)

    def end(self, error: ShoalError | None = None) -> None:
        """Let the reader have what is queued, then the end, or the error. Only the first end counts."""
        if not self._ended:
            self._ended, self._error = True, error
        self._readable.set()
        self._writable.set()

    def abandon(self) -> None:
        """Say that nobody reads any more: writers that wait go on."""
        self._abandoned = True
        self._items.clear()
        self._writable.set()

    async def get(self) -> T | None:
        """Return the next item, waiting for it; None at the end. Raises the error that the pipe was ended with."""
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
