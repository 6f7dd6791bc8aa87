"""Writes what nodes report about their tasks. The call is answered after the commit, so nothing acknowledged is lost.

In: the updates of one call of a node. Out: tasks in the store. `statuses` decides which updates count and what is
stored of them, `budgets` how much a node may have written.
"""

import asyncio
import logging
from collections.abc import Callable

from shoal.api import v1 as api
from shoal.api.states import name_of
from shoal.api.times import timestamp
from shoal.manager.dispatcher.budgets import Budgets
from shoal.manager.dispatcher.statuses import Update, accepted, apply_report
from shoal.repeats import Repeats
from shoal.store.memory import Transaction
from shoal.store.store import Store

log = logging.getLogger(__name__)


class Reports:
    """Writes the reports of all nodes. `own_id` is the node id of this leader; `clock` returns seconds since 1970."""

    def __init__(self, store: Store, *, own_id: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._own_id = own_id
        self._clock = clock
        self._budgets = Budgets()
        self._told = Repeats(log)

    async def write(self, node_id: str, request: api.UpdateTaskStatusRequest, check: Callable[[], None]) -> bool:
        """Write what a node reports. Return whether there was anything to write.

        `check` raises if the node's session is over, which may happen while the call waits for its budget. Raises as
        `accepted`, `Budgets.spend` and the store do.
        """
        tasks = self._store.view().tasks
        kept, refused = accepted(request.updates, node_id, tasks.get)
        if refused:
            self._told.log(
                logging.WARNING,
                ("status", node_id),
                "node %s says that task %s is %s, which no agent may report of one that is %s: it is not believed",
                node_id,
                refused[0].task_id,
                name_of(refused[0].status.state),
                name_of(_state(tasks.get(refused[0].task_id))),
            )
        if not kept:
            return False
        # The store writes the whole task for each new status. All that the call holds is in memory while it waits.
        sizes = (_size(tasks.get(update.task_id)) + update.status.ByteSize() for update in kept)
        size_bytes = max(sum(sizes), request.ByteSize())
        delay = self._budgets.spend(node_id, size_bytes, asyncio.get_running_loop().time())
        if delay:
            await asyncio.sleep(delay)
            check()
        await self._store.update(lambda transaction: self._apply(transaction, kept))
        return True

    def forget(self, node_id: str) -> None:
        """Drop a node that was removed from the swarm."""
        self._budgets.forget(node_id)

    def _apply(self, transaction: Transaction, updates: list[Update]) -> None:
        now = timestamp(self._clock())
        for update in updates:
            task = transaction.tasks.get(update.task_id)
            changed = apply_report(task, update.status, self._own_id, now) if task is not None else None
            if changed is not None:
                transaction.adopt(changed)


def _state(task: api.Task | None) -> int:
    return task.status.state if task is not None else api.NEW


def _size(task: api.Task | None) -> int:
    return task.ByteSize() if task is not None else 0
