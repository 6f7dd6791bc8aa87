"""Mends asyncio.TaskGroup in Python 3.11 and 3.12, so that it behaves as Python 3.13's. Imported by `shoal` itself.

When a child fails while its group waits for the others, asyncio cancels the group's owner and never takes that back:
`cancelling()` of the owner stays above 0. From then on the owner counts as cancelled, and its `asyncio.timeout` raises
CancelledError instead of TimeoutError. Python 3.13 takes it back. Here the group cancels its other children itself and
does not touch the owner, which waits for them anyway.

When somebody else cancels the owner while a child fails, the owner gets the failure alone. If it catches that, it goes
on, and whoever cancelled it waits for ever. Python 3.13 cancels the owner again at its next wait; so does this module.
"""

import asyncio
import sys
from typing import Any


def _mend(group: Any) -> None:
    told = group._on_task_done

    def on_task_done(self: Any, task: asyncio.Task[Any]) -> None:
        if self._exiting and not self._aborting and not task.cancelled() and task.exception() is not None:
            self._abort()  # so that what follows does not cancel the owner
        told(self, task)

    group._on_task_done = on_task_done
    leave = group.__aexit__

    async def aexit(self: Any, *raised: Any) -> None:
        try:
            await leave(self, *raised)
        except BaseExceptionGroup:
            if self._parent_task.cancelling():
                # Later, not now: a timeout around the group, whose doing it may be, takes it back first, and before
                # Python 3.13 what is taken back would be raised all the same.
                self._loop.call_soon(_cancel_again, self._parent_task)
            raise

    group.__aexit__ = aexit


def _cancel_again(owner: asyncio.Task[Any]) -> None:
    if owner.cancelling():
        owner.cancel()
        owner.uncancel()  # it was counted the first time


if sys.version_info < (3, 13):
    _mend(asyncio.TaskGroup)
