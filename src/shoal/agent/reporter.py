"""Which statuses are still to be reported to the manager, and when. Pure.

In: statuses as tasks change; out: batches to report. Only the newest status of each task is kept; a lower state never
replaces a higher one (SwarmKit agent/reporter.go).

Each report costs the manager a transaction. Most tasks go from ACCEPTED to RUNNING in a few hundredths of a second, and
nobody acts on the states between. So a passing status may wait a little for the next status of its task, and reports
are some time apart, so that many tasks share one.
"""

from collections.abc import Iterable
from math import inf

from shoal.api import v1 as api

BATCH_LIMIT = 1000  # statuses in one call: some 300 kB, far below the 4 MiB that a manager takes
PASSING = 0.1  # seconds that a passing status waits for the next one of its task
# The pause after a report, in seconds: for each task that is on its way to its desired state, and at most. With few
# such tasks a report is sent almost at once; many tasks share reports. SwarmKit's manager always waits 0.1 s.
PAUSE_EACH, PAUSE_MOST = 0.005, 0.1

Report = tuple[str, api.TaskStatus]


class Reporter:
    """The statuses to report, by task, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[str, api.TaskStatus] = {}
        self._moving: set[str] = set()
        self._wanted_at = inf
        self._not_before = -inf

    def __bool__(self) -> bool:
        """Return whether there is something to report."""
        return bool(self._pending)

    @property
    def due_at(self) -> float | None:
        """When to report next, on the clock of `put` and `take`; None while nothing is to be reported."""
        return max(self._wanted_at, self._not_before) if self._pending else None

    def put(self, task_id: str, status: api.TaskStatus, now: float, *, passing: bool = False) -> None:
        """Take a status to report. A `passing` one may wait for the next status of its task."""
        known = self._pending.get(task_id)
        if known is None or known.state <= status.state:
            self._pending[task_id] = status
            self._wanted_at = min(self._wanted_at, now + PASSING if passing else now)
        (self._moving.add if passing else self._moving.discard)(task_id)

    def drop(self, task_id: str) -> None:
        """Forget a task that was removed, and its status."""
        self._pending.pop(task_id, None)
        self._moving.discard(task_id)

    def take(self, now: float) -> list[Report]:
        """Return the statuses to report now, due or not, and count them as reported."""
        batch = [(task_id, self._pending[task_id]) for task_id in list(self._pending)[:BATCH_LIMIT]]
        for task_id, _ in batch:
            del self._pending[task_id]
        self._wanted_at = now if self._pending else inf
        self._not_before = now + min(PAUSE_MOST, PAUSE_EACH * max(1, len(self._moving)))
        return batch

    def give_back(self, batch: Iterable[Report]) -> None:
        """Take back statuses that could not be reported. A status that was put meanwhile is newer and stays."""
        older = {task_id: status for task_id, status in batch if task_id not in self._pending}
        self._pending = {**older, **self._pending}
        self._wanted_at = -inf
