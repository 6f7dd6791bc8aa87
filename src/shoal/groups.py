"""Mends asyncio.TaskGroup in Python 3.11 and 3.12, so that it behaves as in Python 3.13. `shoal` imports it first.

Fault 1: when a child fails while its group waits for the others, asyncio cancels the group's owner and never takes that
back. The owner's `cancelling()` stays above 0, so that its next `asyncio.timeout` raises CancelledError instead of
TimeoutError. Python 3.13 takes it back. Here the group cancels its other children itself and leaves the owner alone,
because the owner waits for them anyway.

Fault 2: when somebody else cancels the owner while a child fails, the owner only sees the failure. If it catches the
failure it goes on, and whoever cancelled it waits for ever. Python 3.13 cancels the owner again at its next wait; so
does this module.
"""

import asyncio
import sys
from typing import Any


def _mend(group: Any) -> None:
    told = group._on_task_done

    def on_task_done(self: Any, task: asyncio.Task[Any]) -> None:
        if self._exiting and not self._aborting and not task.cancelled() and task.exception() is not None:
            self._abort()  # then asyncio's own callback below does not cancel the owner
        told(self, task)

    group._on_task_done = on_task_done
    leave = group.__aexit__

    async def aexit(self: Any, *raised: Any) -> None:
        try:
            await leave(self, *raised)
        except BaseExceptionGroup:
            if self._parent_task.cancelling():
                # Not at once: if a timeout around the group cancelled the owner, it takes that back first. Before
                # Python 3.13, a cancellation that was taken back would still be raised.
                self._loop.call_soon(_cancel_again, self._parent_task)
            raise

    group.__aexit__ = aexit


def _cancel_again(owner: asyncio.Task[Any]) -> None:
    if owner.cancelling():
        owner.cancel()
        owner.uncancel()  # the first cancellation is still counted


if sys.version_info < (3, 13):
    _mend(asyncio.TaskGroup)
