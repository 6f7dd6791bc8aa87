"""Who is looked at next, containers or overlays, so that each look costs the same however many there are. Pure.

Some at a time, one after the other. One whose rules somebody else keeps changing (a program in it, perhaps) is looked
at ever less often: writing them again costs some milliseconds.
"""

from collections.abc import Collection

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0  # seconds


class Rounds:
    """Containers, or overlays, in the order in which they are looked at; so many `at_once`."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._order: dict[str, None] = {}
        self._pauses: dict[str, tuple[float, float]] = {}  # until when, and how long that is

    def due(self, there: Collection[str], now: float) -> list[str]:
        """Return whom to look at now, of these that there are."""
        self._order = {one: None for one in self._order if one in there} | dict.fromkeys(there)
        self._pauses = {one: pause for one, pause in self._pauses.items() if one in self._order}
        chosen = [one for one in self._order if self._pauses.get(one, (now, 0.0))[0] <= now][: self._at_once]
        for one in chosen:
            del self._order[one]
            self._order[one] = None
        return chosen

    def looked(self, one: str, changed: bool, now: float) -> None:
        """Take in what was found: `changed` by somebody else, or as it was."""
        if not changed:
            self._pauses.pop(one, None)
            return
        _, pause = self._pauses.get(one, (now, FIRST_PAUSE / 2))
        pause = min(pause * 2, LONGEST_PAUSE)
        self._pauses[one] = (now + pause, pause)
