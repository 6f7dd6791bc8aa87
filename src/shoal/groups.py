"""Mends asyncio.TaskGroup in Python 3.11 and 3.12, so that it behaves as Python 3.13's. Imported by `shoal` itself.

A child that fails while its group waits for the rest is answered by cancelling the group's owner, and that is never
taken back: `cancelling()` of the owner stays above 0. From then on it takes itself for cancelled, and its
`asyncio.timeout` raises CancelledError in the place of TimeoutError. Python 3.13 takes it back. Here the group ends its
other children itself, and leaves the owner, who waits for them anyway, alone.

An owner that somebody else cancels while a child of its fails hears of the failure alone: if it catches that, it goes
on, and whoever cancelled it waits for ever. Python 3.13 cancels it again, where it waits next; so do we.
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
