"""Messages that are sent along with others until enough members have heard them.

Pure. A message about a member takes the place of an older one about the same member. Source: gossip.md 1.10.
"""

import math
from dataclasses import dataclass

MULTIPLIER = 4


def transmit_limit(members: int) -> int:
    """Return how often a message is sent, among so many members: 4 times up to 9, 8 up to 99, 12 up to 999."""
    return MULTIPLIER * math.ceil(math.log10(members + 1))


@dataclass(slots=True)
class _Waiting:
    name: str
    message: bytes
    number: int
    transmits: int = 0

    def order(self) -> tuple[int, int, int]:
        return self.transmits, -len(self.message), -self.number


class Broadcasts:
    """The queue: one message a member, so that it cannot be longer than the table of members."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._count = 0
        self._sorted: list[_Waiting] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def queue(self, name: str, message: bytes) -> None:
        """Have a message about a member sent."""
        self._count += 1
        self._waiting[name] = _Waiting(name, message, self._count)
        self._sorted = None

    def drop(self, name: str) -> None:
        """Have nothing more sent about a member."""
        if self._waiting.pop(name, None):
            self._sorted = None

    def take(self, overhead: int, limit: int, members: int) -> list[bytes]:
        """Return messages for one packet, the least sent first; each counts as sent once and costs `overhead`."""
        if not self._waiting:
            return []
        if self._sorted is None:
            self._sorted = sorted(self._waiting.values(), key=_Waiting.order)
        taken, left, most = [], limit, transmit_limit(members)
        for waiting in self._sorted:
            if left <= overhead:
                break
            if overhead + len(waiting.message) <= left:
                left -= overhead + len(waiting.message)
                taken.append(waiting)
        for waiting in taken:
            waiting.transmits += 1
            if waiting.transmits >= most:
                del self._waiting[waiting.name]
        if taken:
            self._sorted = None
        return [waiting.message for waiting in taken]
