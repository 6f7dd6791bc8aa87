"""What ends by itself, and when: tombstones, records of networks that were left, hidden entries."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

# Source of all but the last: libnetwork networkdb (gossip.md 2.8).
TOMBSTONE = 1800.0  # life of a deleted entry, so that no late event brings it back
NEARLY_OVER = 6.0  # a tombstone with less is removed, so that none is sent with a rest of 0, which means a new life
LEFT_NETWORK = TOMBSTONE + 25.0  # a node's record on a network that it left outlives the tombstones of its entries
REAP_EVERY = 5.0
GONE = 24 * 3600.0  # then a failed or left node is forgotten
# How long a failed node's entries are kept, hidden. Less than a tombstone's life by more than it takes to see a node
# fail: what the node deleted while it was cut off, it can then still say when it returns.
HIDDEN = TOMBSTONE - 300.0

Item = TypeVar("Item", bound=Hashable)


class Deadlines(Generic[Item]):
    """Items with a time each; setting one again moves it."""

    def __init__(self) -> None:
        self._times: dict[Item, float] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._times)

    def set(self, item: Item, at: float) -> None:
        """Let an item be due at a time."""
        self._times[item] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, item))
        # Those that were moved or dropped stay in the heap until they come to its top: never more than there are items.
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(at, number, item) for number, (item, at) in enumerate(self._times.items())]
            heapq.heapify(self._heap)
            self._count = len(self._heap)

    def drop(self, item: Item) -> None:
        """Forget an item, if it is there."""
        self._times.pop(item, None)

    def due(self, now: float) -> list[Item]:
        """Return the items whose time has come, and forget them."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            if self._times.get(item) == at:
                del self._times[item]
                found.append(item)
        return found
