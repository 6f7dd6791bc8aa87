"""Makes grpclib take back the cancellation with which it wakes a task that waits on a broken connection.

grpclib cancels the waiting task and turns the CancelledError into the connection's error, but never calls
`Task.uncancel` (new in Python 3.11). From then on the task counts as cancelled, and its task groups and timeouts end as
if somebody had cancelled them. If somebody else really cancels the task at the same moment, grpclib turns that into an
error too, and the task goes on. `shoal.api` applies this patch once, before any stub can be used.
"""

import asyncio
from types import TracebackType
from typing import Any

from grpclib.utils import Wrapper

_ASKED = "_shoal_asked"  # how often a wrapper has cancelled which task
_ENTERED = "_shoal_entered"  # how often the task had been cancelled by others before it began to wait


def apply() -> None:
    """Replace the three methods of grpclib's wrapper. May be repeated."""
    if not hasattr(Wrapper, _ASKED):
        setattr(Wrapper, _ASKED, True)
        Wrapper.__enter__ = _enter_counted(Wrapper.__enter__)  # type: ignore[method-assign]
        Wrapper.cancel = _cancel_counted(Wrapper.cancel)  # type: ignore[method-assign]
        Wrapper.__exit__ = _exit_uncancelled(Wrapper.__exit__)  # type: ignore[method-assign]


def _enter_counted(enter: Any) -> Any:
    def enter_(self: Any) -> None:
        enter(self)
        task = asyncio.current_task()
        if task is not None:
            self.__dict__.setdefault(_ENTERED, {})[task] = task.cancelling()

    return enter_


def _cancel_counted(cancel: Any) -> Any:
    def counted(self: Any, error: Exception) -> None:
        asked = self.__dict__.setdefault(_ASKED, {})
        for task in self._tasks:
            asked[task] = asked.get(task, 0) + 1
        cancel(self, error)

    return counted


def _exit_uncancelled(leave: Any) -> Any:
    def exit_(
        self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            for _ in range(self.__dict__.get(_ASKED, {}).pop(task, 0)):
                task.uncancel()
            before = self.__dict__.get(_ENTERED, {}).pop(task, 0)
            if kind is asyncio.CancelledError and task.cancelling() > before:
                self._tasks.discard(task)
                return  # somebody else cancelled the task as well; the CancelledError must not become an error
        leave(self, kind, error, trace)

    return exit_
