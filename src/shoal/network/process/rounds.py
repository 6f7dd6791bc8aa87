"""Whose rules are looked at next, so that a look at all containers costs the same each time. Pure.

Some at a time, one after the other. One whose rules somebody else keeps changing (a program in it, perhaps) is looked
at ever less often: writing them again costs some milliseconds.
"""

from collections.abc import Collection

# At each look, which is every 3 s: 200 containers in ten seconds.
AT_ONCE = 64
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0  # seconds


class Rounds:
    """Containers in the order in which they are looked at."""

    def __init__(self) -> None:
        self._order: dict[str, None] = {}
        self._pauses: dict[str, tuple[float, float]] = {}  # until when, and how long that is

    def due(self, containers: Collection[str], now: float) -> list[str]:
        """Return whom to look at now, of these that there are."""
        self._order = {one: None for one in self._order if one in containers} | dict.fromkeys(containers)
        self._pauses = {one: pause for one, pause in self._pauses.items() if one in self._order}
        chosen = [one for one in self._order if self._pauses.get(one, (now, 0.0))[0] <= now][:AT_ONCE]
        for one in chosen:
            del self._order[one]
            self._order[one] = None
        return chosen

    def looked(self, container: str, changed: bool, now: float) -> None:
        """Take in what was found: `changed` by somebody else, or as it was."""
        if not changed:
            self._pauses.pop(container, None)
            return
        _, pause = self._pauses.get(container, (now, FIRST_PAUSE / 2))
        pause = min(pause * 2, LONGEST_PAUSE)
        self._pauses[container] = (now + pause, pause)
