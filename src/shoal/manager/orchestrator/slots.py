"""Slots of replicated services: which numbers new ones get, and which go first when there are too many.

In: places that are slots; out: numbers, and an order. Source: SwarmKit manager/orchestrator/replicated/slot.go,
services.go.
"""

from collections import Counter
from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, Places


def free_slots(taken: Iterable[Place], count: int) -> list[Place]:
    """Return the `count` lowest slots from 1 that are not taken."""
    used = set(taken)
    free: list[Place] = []
    number = 0
    while len(free) < count:
        number += 1
        if (slot := Place(number)) not in used:
            free.append(slot)
    return free


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
