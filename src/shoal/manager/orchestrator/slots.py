"""Slots of replicated services: which numbers new slots get, and which slots go first when there are too many.

In: places that are slots; out: numbers, and an order. Source: SwarmKit manager/orchestrator/replicated/slot.go,
services.go.
"""

import itertools
from collections import Counter
from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, Places


class Taken:
    """The filled slots of a service, counted from 1. Slots in `doubtful` have changed: call `note` for each of them.

    `keeps_ended`: emptied slots still show their ended tasks, until `reconcile` looks at the service again.
    """

    def __init__(self, places: Iterable[Place], *, keeps_ended: bool = False) -> None:
        self._slots = {place.slot for place in places}
        self._lowest_free = 1
        self.keeps_ended = keeps_ended
        self.doubtful: set[Place] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def note(self, place: Place, *, is_filled: bool) -> None:
        """Record whether a slot is filled."""
        if is_filled:
            self._slots.add(place.slot)
        elif place.slot in self._slots:
            self._slots.remove(place.slot)
            self._lowest_free = min(self._lowest_free, place.slot)

    def free(self, count: int) -> list[Place]:
        """Return the `count` lowest slots that are not filled."""
        while self._lowest_free in self._slots:
            self._lowest_free += 1
        numbers = (number for number in itertools.count(self._lowest_free) if number not in self._slots)
        return [Place(number) for number in itertools.islice(numbers, max(0, count))]


def keep_order(slots: Places) -> list[Place]:
    """Return the slots in the order in which they are kept; the last ones are the first to go.

    Slots with exactly one task that has a node come first. Among these, the first slot on each node comes
    before the second one on any node, and so on: this keeps nodes evenly loaded. Equal slots are sorted by whether they
    run, then by number.
    """
    running_first = sorted(slots, key=lambda slot: (not _is_running(slots[slot]), slot))
    copies: Counter[str] = Counter()
    ranks: dict[Place, tuple[bool, int]] = {}
    for slot in running_first:
        tasks = slots[slot]
        if len(tasks) == 1 and tasks[0].node_id:
            copies[tasks[0].node_id] += 1
            ranks[slot] = (False, copies[tasks[0].node_id])
        else:
            ranks[slot] = (True, 0)
    return sorted(running_first, key=ranks.__getitem__)


def _is_running(tasks: list[api.Task]) -> bool:
    return any(task.status.state == api.RUNNING for task in tasks)
