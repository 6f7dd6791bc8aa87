"""What consumers of the tables were told, and what they are to be told next.

Whatever happened to a key in between, they hear one change: from what they were last told to what is now (known
fault 5).
"""

from collections.abc import Callable

from shoal.network.networkdb.tables import Key
from shoal.network.records import Changed, End

Shown = tuple[str, bytes]  # owner and value


class Changes:
    """The difference between what is shown and what was told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, Key], Shown] = {}
        self._marked: dict[tuple[str, Key], End] = {}

    def __bool__(self) -> bool:
        return bool(self._marked)

    def mark(self, network: str, key: Key, shown: bool, end: End = "deleted") -> None:
        """Note that a key may have changed. `shown`: it has a value now; `end`: why not.

        A key without a value that nobody was told of is no change: so there are never more marks than entries, those
        that are there and those that were told.
        """
        at = (network, key)
        if shown or at in self._told:
            self._marked[at] = end
        else:
            self._marked.pop(at, None)

    def take(self, show: Callable[[str, Key], Shown | None]) -> list[Changed]:
        """Return what is different from what was told, in the order of the first marks, and take it as told."""
        changes = []
        for (network, key), end in self._marked.items():
            former = self._told.get((network, key))
            now = show(network, key)
            if now == former:
                continue
            if now is None:
                del self._told[network, key]
            else:
                self._told[network, key] = now
            owner = (now or former or ("", b""))[0]
            values = former[1] if former else None, now[1] if now else None
            changes.append(Changed(key.table, network, key.key, owner, *values, end if now is None else "deleted"))
        self._marked.clear()
        return changes
