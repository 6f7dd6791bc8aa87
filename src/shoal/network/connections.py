"""Whether the host's table of tracked connections is full, and what is said of it. Pure.

Where it is full, the kernel drops the first packet of each new connection that it would track: to published ports,
between containers, to outside. Nothing else tells. In: what the kernel says of the table, the time. Out: words for the
log, once at each change; what is to be told as long as it is so.
"""

from dataclasses import dataclass
from enum import IntEnum

# Shares of the limit. It is said at the one, and taken back below the other, so that a table at an edge is said once.
NEARLY, CALM = 0.9, 0.75
HOLD = 300.0  # seconds for which it is told at least: a table may be full for a moment at a time


@dataclass(frozen=True, slots=True)
class Table:
    """The table of the host's namespace: connections, how many it may have, and those that were dropped so far."""

    count: int
    limit: int
    dropped: int = 0


class Level(IntEnum):
    """How bad it is."""

    CALM = 0
    NEARLY_FULL = 1
    FULL = 2


def read(count: str, limit: str, statistics: str = "") -> Table | None:
    """Read the kernel's files; None where they say nothing. `statistics`: of each CPU, where the kernel has them."""
    try:
        table = Table(int(count), int(limit), _dropped(statistics))
    except ValueError:
        return None
    return table if table.limit > 0 else None


def _dropped(statistics: str) -> int:
    """Return the sum of the columns of connections that found no room, or lost theirs to another."""
    lines = statistics.splitlines()
    names = lines[0].split() if lines else []
    columns = [names.index(name) for name in ("drop", "early_drop") if name in names]
    rows = [line.split() for line in lines[1:]]
    return sum(int(row[column], 16) for row in rows for column in columns if column < len(row))


class Fullness:
    """What is said of the table, from look to look."""

    def __init__(self) -> None:
        self.table: Table | None = None
        """As it was at the last look; None: nothing is tracked here."""
        self.level = Level.CALM
        self._until = 0.0

    def look(self, table: Table | None, now: float) -> str:
        """Take in a look. Return what is to be logged, empty for nothing."""
        former, self.table = self.table, table
        if table is None:
            self.level = Level.CALM
            return ""
        lost = max(0, table.dropped - former.dropped) if former is not None else 0
        share = table.count / table.limit
        # The kernel counts others as well: what it drops from a table that has room is none of this.
        found = (
            Level.FULL
            if share >= 1 or (lost and share >= CALM)
            else Level.NEARLY_FULL
            if share >= NEARLY
            else Level.CALM
        )
        if found > self.level:
            self.level, self._until = found, now + HOLD
            return self._words(table, lost)
        if found == self.level and found:
            self._until = now + HOLD
        elif share < CALM and now >= self._until and self.level:
            self.level = Level.CALM
            return f"the table of tracked connections has room again: {table.count} of {table.limit}"
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be told of this node now."""
        return (f"WARNING: {self._words(self.table, 0)}",) if self.table is not None and self.level else ()

    def _words(self, table: Table, lost: int) -> str:
        how = "is full" if self.level is Level.FULL else "is nearly full"
        refused = f", {lost} connections were lost" if lost else ""
        return (
            f"the table of tracked connections {how} ({table.count} of {table.limit}{refused}): new connections to "
            "published ports, between containers and to outside are lost while it is. Find out who opens so many, or "
            f"make it larger: sysctl -w net.netfilter.nf_conntrack_max={2 * table.limit}"
        )
