"""Notes about a task's origin, stored on the task itself so that a new leader knows them.

SwarmKit's leader keeps the delay of a replacement, and the task that it waits for, in memory; a new leader does not
know them. Shoal writes them into `task.annotations.indices`, a field that no agent and no API client of Docker reads.
"""

from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.api.times import NANOS

_REPLACES = "shoal.replaces"
_START_AT = "shoal.start-at"
_BY_UPDATE = "shoal.by-update"
_ANEW = "shoal.anew"
_FAILURES = "shoal.failures"


@dataclass(frozen=True, slots=True)
class Marks:
    """Why a task was created, and what it waits for."""

    replaces: str = ""  # the id of the task that must end before this one starts
    start_at: float = 0.0  # the task does not start before this instant (seconds since 1970)
    by_update: bool = False  # a rolling update created the task, so its failure counts against the update
    anew: bool = False  # the task was created in a place that had been left: restarts are counted from here
    failures: int = 0  # how many tasks of the place directly before this one failed as soon as they started


def read(task: api.Task) -> Marks:
    """Return the marks of a task; the defaults for a task without marks."""
    if not task.annotations.indices:
        return Marks()
    found = {entry.key: entry.val for entry in task.annotations.indices}
    return Marks(
        replaces=found.get(_REPLACES, ""),
        start_at=_number(found.get(_START_AT)) / NANOS,
        by_update=_BY_UPDATE in found,
        anew=_ANEW in found,
        failures=_number(found.get(_FAILURES)),
    )


def write(task: api.Task, marks: Marks) -> None:
    """Replace the marks of a task. The task must be a copy that nobody else holds yet."""
    entries = {
        _REPLACES: marks.replaces,
        _START_AT: str(round(marks.start_at * NANOS)) if marks.start_at else "",
        _BY_UPDATE: "1" if marks.by_update else "",
        _ANEW: "1" if marks.anew else "",
        _FAILURES: str(marks.failures) if marks.failures else "",
    }
    kept = [entry for entry in task.annotations.indices if entry.key not in entries]
    added = [api.IndexEntry(key=key, val=val) for key, val in entries.items() if val]
    # Copied before the deletion, which frees the elements of a repeated field.
    fresh = [api.IndexEntry(key=entry.key, val=entry.val) for entry in kept] + added
    del task.annotations.indices[:]
    task.annotations.indices.extend(fresh)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
