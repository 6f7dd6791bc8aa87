"""A set of names from which some can be drawn at random, whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

# A crowd up to here is looked through; from a larger one names are drawn until enough are accepted.
_FEW = 32
_TRIES = 8  # for each name wanted, before all are looked through


class Crowd:
    """Names; adding, removing and drawing cost the same for three as for ten thousand."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def add(self, name: str) -> None:
        """Add a name, if it is not there."""
        if name not in self._places:
            self._places[name] = len(self._names)
            self._names.append(name)

    def discard(self, name: str) -> None:
        """Remove a name, if it is there."""
        place = self._places.pop(name, None)
        if place is None:
            return
        last = self._names.pop()
        if last != name:
            self._names[place] = last
            self._places[last] = place

    def sample(self, count: int, rng: Random, accept: Callable[[str], bool]) -> list[str]:
        """Return up to `count` different names that are accepted, in random order."""
        if len(self._names) > _FEW:
            found: dict[str, None] = {}
            for _ in range(_TRIES * count):
                name = self._names[rng.randrange(len(self._names))]
                if name not in found and accept(name):
                    found[name] = None
                    if len(found) == count:
                        return list(found)
        accepted = [name for name in self._names if accept(name)]
        return rng.sample(accepted, min(count, len(accepted)))
