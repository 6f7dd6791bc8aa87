"""Waits until statuses must be reported. `reporter` decides when that is."""

import asyncio
from collections.abc import Iterable

from shoal.agent.reporter import Report, Reporter
from shoal.api import v1 as api


class Reports:
    """A `Reporter` on the event loop's clock. Only one caller at a time may `wait`."""

    def __init__(self) -> None:
        self._reporter = Reporter()
        self._sooner = asyncio.Event()

    def put(self, task_id: str, status: api.TaskStatus, *, passing: bool) -> None:
        """Take a status to report. A `passing` one may wait for the next status of its task."""
        due_at = self._reporter.due_at
        self._reporter.put(task_id, status, asyncio.get_running_loop().time(), passing=passing)
        if due_at != self._reporter.due_at:
            self._sooner.set()

    def drop(self, task_id: str) -> None:
        """Forget a task that was removed."""
        self._reporter.drop(task_id)

    def give_back(self, reports: Iterable[Report]) -> None:
        """Take back statuses that the manager did not receive."""
        self._reporter.give_back(reports)

    async def wait(self) -> list[Report]:
        """Return the next statuses to report, once they are due."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = self._reporter.due_at
            if due_at is not None and due_at <= loop.time():
                return self._reporter.take(loop.time())
            self._sooner.clear()
            try:
                async with asyncio.timeout_at(due_at):
                    await self._sooner.wait()
            except TimeoutError:
                continue
