"""What a replacement must know of its origin, kept on the task itself so that a new leader can go on with it.

Swarm's leader keeps a replacement's delay and the task it waits for in memory and loses both with the leadership. Ours
writes them into `task.annotations.indices`, a field that no agent and no API client of Docker reads.
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
    """Where a task came from."""

    replaces: str = ""  # the task that must have ended before this one starts
    start_at: float = 0.0  # not before this instant
    by_update: bool = False  # made by a rolling update, so that its failure counts against the update
    anew: bool = False  # made in a place that had been left: restarts are counted from here
    failures: int = 0  # how many tasks of the place before it, without a break, failed as soon as they started


def read(task: api.Task) -> Marks:
    """Return the marks of a task; one without any gets the defaults."""
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
    """Set the marks of a task that is not shared yet, in place of those it has."""
    entries = {
        _REPLACES: marks.replaces,
        _START_AT: str(round(marks.start_at * NANOS)) if marks.start_at else "",
        _BY_UPDATE: "1" if marks.by_update else "",
        _ANEW: "1" if marks.anew else "",
        _FAILURES: str(marks.failures) if marks.failures else "",
    }
    kept = [entry for entry in task.annotations.indices if entry.key not in entries]
    added = [api.IndexEntry(key=key, val=val) for key, val in entries.items() if val]
    # Assembled first: deleting from a repeated field leaves its former elements without an owner.
    fresh = [api.IndexEntry(key=entry.key, val=entry.val) for entry in kept] + added
    del task.annotations.indices[:]
    task.annotations.indices.extend(fresh)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
