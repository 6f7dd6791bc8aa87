"""Groups of tasks: which slots of a service are filled, and which go first when there are too many.

In: tasks of one service; out: slots, sorted. Source: SwarmKit manager/orchestrator/replicated/slot.go, services.go.
"""

from collections import Counter
from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.manager.orchestrator import restart

Slots = dict[int, list[api.Task]]


def is_replicated(service: api.Service | None) -> bool:
    """Return whether a service is of the mode that this orchestrator looks after."""
    return service is not None and service.spec.HasField("replicated")


def is_lost(node: api.Node | None) -> bool:
    """Return whether tasks must leave a node: it is gone, DOWN or drained."""
    return node is None or node.status.state == api.NodeStatus.DOWN or node.spec.availability == api.NodeSpec.DRAIN


def by_slot(tasks: Iterable[api.Task]) -> Slots:
    """Return the tasks of a service by slot, slots in rising order."""
    slots: Slots = {}
    for task in tasks:
        slots.setdefault(task.slot, []).append(task)
    return dict(sorted(slots.items()))


def occupants(tasks: list[api.Task], service: api.Service) -> list[api.Task]:
    """Return the tasks of a slot that fill it: those meant to run, else the last one if it may not be restarted.

    In a rollback the latter does not count: what the old spec had running comes back. Empty: the slot is free.
    """
    meant = [task for task in tasks if task.desired_state <= api.RUNNING]
    if meant or service.update_status.state == api.UpdateStatus.ROLLBACK_STARTED:
        return meant
    ended = [task for task in tasks if task.desired_state < api.REMOVE]
    if not ended:
        return []
    newest = max(ended, key=restart.reported_at)
    return [] if restart.is_wanted(newest, tasks) else [newest]


def free_numbers(taken: Iterable[int], count: int) -> list[int]:
    """Return the `count` lowest slot numbers from 1 that are not taken."""
    used = set(taken)
    numbers: list[int] = []
    number = 0
    while len(numbers) < count:
        number += 1
        if number not in used:
            numbers.append(number)
    return numbers


def keep_order(slots: Slots) -> list[int]:
    """Return the slot numbers, those to keep longest first.

    Running ones before others, then the n-th copies on their node by n (which leaves nodes evenly loaded), then lower
    slots. Slots without one single placed task go first of all.
    """
    running_first = sorted(slots, key=lambda slot: (not _is_running(slots[slot]), slot))
    copies: Counter[str] = Counter()
    ranks: dict[int, tuple[bool, int]] = {}
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
