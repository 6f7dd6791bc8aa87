"""Up to which wanted state all others know what this node wrote for it. Pure."""

from collections import deque


class Confirmed:
    """Wanted states, and how much had been written in the tables when each was made.

    Tables are known by the name that this node has in gossip: under another one nobody waits for what was said before.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, int]] = deque()
        self._revision = 0

    def wrote(self, revision: int, node: str, written: int) -> None:
        """Take in that a wanted state was made: `written` entries there are now, all told."""
        self._waiting.append((revision, node, written))

    def up_to(self, node: str, told: int) -> int:
        """Return the last wanted state of whose entries nobody waits for any, where so many are `told`."""
        while self._waiting and (self._waiting[0][1] != node or self._waiting[0][2] <= told):
            self._revision = self._waiting.popleft()[0]
        return self._revision
