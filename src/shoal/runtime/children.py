"""Owns the runtime's background children: clean-ups, health probes, and work that must finish once it has begun.

They share one TaskGroup for the life of the runtime. A child that fails is logged, and the others go on.
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

log = logging.getLogger(__name__)

R = TypeVar("R")


class Children:
    """An async context manager. On leaving, it waits for work that must finish, then cancels the rest."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._loops: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            while self._finishing:
                await asyncio.wait(set(self._finishing))
        finally:
            for child in self._loops:
                child.cancel()
            # Without the body's error, which would otherwise be wrapped in an ExceptionGroup.
            await self._group.__aexit__(None, None, None)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run work until it ends, is cancelled, or the context is left."""
        child = self._group.create_task(self._isolated(work, name), name=name)
        self._loops.add(child)
        child.add_done_callback(self._loops.discard)
        return child

    async def finish(self, work: Coroutine[Any, Any, R], name: str) -> R:
        """Run work to its end, even if the caller is cancelled, and return its result."""
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        child = self._group.create_task(_carry(work, outcome), name=name)
        self._finishing.add(child)
        child.add_done_callback(self._finishing.discard)
        try:
            await asyncio.wait([child])
        except asyncio.CancelledError:
            # Nobody waits for the result any more. The effect shows in the container's state.
            outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise
        return await outcome

    def must_finish(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work to its end; nobody waits for it."""
        child = self._group.create_task(self._isolated(work, name), name=name)
        self._finishing.add(child)
        child.add_done_callback(self._finishing.discard)

    async def _isolated(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception:
            log.exception("%s failed", name)


async def _carry(work: Coroutine[Any, Any, R], outcome: "asyncio.Future[R]") -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - it is raised where `finish` is awaited
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
