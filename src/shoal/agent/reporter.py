"""Which statuses the manager has yet to hear of. Pure.

In: statuses as tasks change; out: batches to report. One status a task is kept, the newest; a lower state never
replaces a higher one (SwarmKit agent/reporter.go).
"""

from collections.abc import Iterable

from shoal.api import v1 as api

BATCH_LIMIT = 1000  # statuses in one call: some 300 kB, far below the 4 MiB that a manager takes

Report = tuple[str, api.TaskStatus]


class Reporter:
    """The statuses to report, by task, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[str, api.TaskStatus] = {}

    def __bool__(self) -> bool:
        """Return whether there is something to report."""
        return bool(self._pending)

    def put(self, task_id: str, status: api.TaskStatus) -> None:
        """Take a status to report."""
        known = self._pending.get(task_id)
        if known is None or known.state <= status.state:
            self._pending[task_id] = status

    def drop(self, task_id: str) -> None:
        """Forget a task: nothing more is said of one that was removed."""
        self._pending.pop(task_id, None)

    def take(self) -> list[Report]:
        """Return what to report now, and count it as reported."""
        batch = [(task_id, self._pending[task_id]) for task_id in list(self._pending)[:BATCH_LIMIT]]
        for task_id, _ in batch:
            del self._pending[task_id]
        return batch

    def give_back(self, batch: Iterable[Report]) -> None:
        """Take back what could not be reported. What has been put meanwhile is newer and stays."""
        older = {task_id: status for task_id, status in batch if task_id not in self._pending}
        self._pending = {**older, **self._pending}
