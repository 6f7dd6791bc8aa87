"""The times at which a decider looks at things again, by key.

In: keys and instants. Out: the keys that are due, and the next instant. Each key has one time: the last one set.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Agenda(Generic[Key]):
    """Times by key. Asking what is due, and when the next key is due, is cheap."""

    def __init__(self) -> None:
        self._at: dict[Key, float] = {}
        # An entry that was moved or dropped stays in the heap until it reaches the top; `_at` says which entries count.
        # The running number keeps the heap from comparing keys.
        self._heap: list[tuple[float, int, Key]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._at)

    def put(self, key: Key, at: float) -> None:
        """Set the time of `key` to `at`. It replaces an earlier time."""
        if self._at.get(key) != at:
            self._at[key] = at
            self._pushed += 1
            heapq.heappush(self._heap, (at, self._pushed, key))

    def drop(self, key: Key) -> None:
        """Forget `key`, if it is there."""
        self._at.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._at.clear()
        self._heap.clear()

    def due(self, now: float) -> list[Key]:
        """Take out and return the keys whose time has come, earliest first."""
        keys: list[Key] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                keys.append(key)
        return keys

    def next_at(self) -> float | None:
        """Return the earliest time, or None when there are no keys."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
