"""Gives out numbers one after the other: VXLAN ids, published ports.

Pure. As with addresses, the next number is always a higher one, so a freed number is not reused for a while.
"""

from collections.abc import Iterable


class Numbers:
    """Numbers and their owners. `take` gives numbers from `first` to `last`; others must be asked for."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._owners: dict[int, str] = {}
        self._numbers: dict[str, list[int]] = {}  # by owner
        self._next = first
        self._inside = 0  # how many numbers from `first` to `last` have an owner

    def owner_of(self, number: int) -> str | None:
        """Return the owner of a number."""
        return self._owners.get(number)

    def of(self, owner: str) -> list[int]:
        """Return an owner's numbers."""
        return list(self._numbers.get(owner, ()))

    def all(self) -> Iterable[int]:
        """Return every number that has an owner."""
        return self._owners.keys()

    @property
    def has_free(self) -> bool:
        """Return whether `take` has a free number."""
        return self._inside <= self._last - self._first

    def hold(self, number: int, owner: str) -> bool:
        """Give a number to an owner. Returns False, and changes nothing, if it has another owner."""
        present = self._owners.get(number)
        if present is None:
            self._give(number, owner)
        return present in (None, owner)

    def take(self, owner: str) -> int | None:
        """Give the next free number. Returns None if there is none."""
        if not self.has_free:
            return None
        number = self._next
        while number in self._owners or number > self._last:
            number = number + 1 if number < self._last else self._first
        self._give(number, owner)
        self._next = number + 1
        return number

    def release(self, number: int, owner: str) -> bool:
        """Take a number back from its owner. Returns whether it had this owner."""
        if self._owners.get(number) != owner:
            return False
        del self._owners[number]
        self._numbers[owner].remove(number)
        if not self._numbers[owner]:
            del self._numbers[owner]
        self._inside -= self._first <= number <= self._last
        return True

    def go_on(self, after: Iterable[int]) -> None:
        """Continue after the highest of these."""
        self._next = (
            max((number for number in after if self._first <= number <= self._last), default=self._first - 1) + 1
        )

    def _give(self, number: int, owner: str) -> None:
        self._owners[number] = owner
        self._numbers.setdefault(owner, []).append(number)
        self._inside += self._first <= number <= self._last

    def __len__(self) -> int:
        return len(self._owners)
