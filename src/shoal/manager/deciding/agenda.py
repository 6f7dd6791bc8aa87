"""What a decider has to look at again without being told: keys with the time of their next look.

In go keys and instants, out come the keys that are due and the next instant. One entry a key: the last one set wins.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Agenda(Generic[Key]):
    """Times by key, cheapest for "what is due" and "when is the next"."""

    def __init__(self) -> None:
        self._at: dict[Key, float] = {}
        # Entries that were moved or dropped stay in the heap until they surface: `_at` is the truth.
        # The running number keeps keys from being compared.
        self._heap: list[tuple[float, int, Key]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._at)

    def put(self, key: Key, at: float) -> None:
        """Look at `key` at `at`, and not at the time that was set before."""
        if self._at.get(key) != at:
            self._at[key] = at
            self._pushed += 1
            heapq.heappush(self._heap, (at, self._pushed, key))

    def drop(self, key: Key) -> None:
        """Forget `key`; nothing happens when it is not there."""
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
        """Return the earliest time, or None when there is nothing."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
