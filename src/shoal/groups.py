"""Mends asyncio.TaskGroup, whose owner remains half cancelled in Python 3.11 and 3.12.

A child that fails while its group waits for the rest is answered by cancelling the group's owner, and that is never
taken back: `cancelling()` of the owner stays above 0. From then on it takes itself for cancelled, and its
`asyncio.timeout` raises CancelledError in the place of TimeoutError. Python 3.13 takes it back. Here the group ends its
other children itself, and leaves the owner, who waits for them anyway, alone. Imported by `shoal` itself.
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


if sys.version_info < (3, 13):
    _mend(asyncio.TaskGroup)
