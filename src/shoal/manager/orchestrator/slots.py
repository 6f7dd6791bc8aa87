"""Slots of replicated services: which numbers new ones get, and which go first when there are too many.

In: places that are slots; out: numbers, and an order. Source: SwarmKit manager/orchestrator/replicated/slot.go,
services.go.
"""

import itertools
from collections import Counter
from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, Places


class Taken:
    """Which slots are filled, from 1 on. Those in `doubtful` have changed since: `note` takes in what they are now.

    `keeps_ended`: slots that were given up still show what ended in them, until the service is looked at as a whole.
    """

    def __init__(self, places: Iterable[Place], *, keeps_ended: bool = False) -> None:
        self._slots = {place.slot for place in places}
        self._lowest_free = 1
        self.keeps_ended = keeps_ended
        self.doubtful: set[Place] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def note(self, place: Place, *, is_filled: bool) -> None:
        """Take in whether a slot is filled."""
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
    """Return the slots, those to keep longest first.

    Running ones before others, then the n-th copies on their node by n (which leaves nodes evenly loaded), then lower
    slots. Slots without one single placed task go first of all.
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
