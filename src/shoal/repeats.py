"""Limits log lines that others cause: equal lines are written the 1st, 10th, 100th, ... time, with their count.

In: lines about what a peer, an agent or a client did. Out: lines of a logger, so few that nobody outside can flood the
log. Memory is bounded too: beyond a limit, all new kinds of lines are counted together.
"""

import logging
import time
from collections.abc import Callable, Hashable

# Kinds of lines that are counted apart; further ones are counted together. So somebody who can vary a line, by an
# address or a name, can cause only this many.
MAX_KINDS = 256
# Seconds. A kind of line that did not occur for this long starts again at its first time.
QUIET = 600.0


class Repeats:
    """Counts kinds of lines for one logger. `clock` returns seconds that only grow."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        max_kinds: int = MAX_KINDS,
        quiet: float = QUIET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._max_kinds = max_kinds
        self._quiet = quiet
        self._clock = clock
        self._seen: dict[Hashable, tuple[int, float]] = {}  # how often and when last, the longest silent first
        self._others: tuple[int, float] = (0, 0.0)

    def log(self, level: int, kind: Hashable, text: str, *args: object, exc_info: bool = False) -> None:
        """Write a line at the 1st, 10th, 100th, ... time of its kind; from the 10th on with the count.

        `kind` is what makes lines equal; `text` and `args` are what `logging` takes, and may differ from line to line.
        """
        count, together = self.count(kind)
        if not is_told(count):
            return
        if together and count > 1:
            text += " (and %d more of many kinds)"
            args = (*args, count - 1)
        elif count > 1:
            text += " (%d times by now)"
            args = (*args, count)
        self._log.log(level, text, *args, exc_info=exc_info, stacklevel=2)

    def count(self, kind: Hashable) -> tuple[int, bool]:
        """Count one more line. Return the count, and whether it is the common count of all kinds beyond the limit."""
        now = self._clock()
        known = self._seen.pop(kind, None)
        if known is None and len(self._seen) >= self._max_kinds:
            self._forget(now)
        if known is None and len(self._seen) >= self._max_kinds:
            self._others = self._next(self._others, now)
            return self._others[0], True
        self._seen[kind] = self._next(known or (0, now), now)
        return self._seen[kind][0], False

    def _next(self, known: tuple[int, float], now: float) -> tuple[int, float]:
        count, last = known
        return (1 if now - last > self._quiet else count + 1), now

    def _forget(self, now: float) -> None:
        while self._seen:
            longest = next(iter(self._seen))
            if now - self._seen[longest][1] <= self._quiet:
                return
            del self._seen[longest]


def is_told(count: int) -> bool:
    """Return whether the line with this number is written: 1, 10, 100, ..."""
    return str(count).strip("0") == "1"
