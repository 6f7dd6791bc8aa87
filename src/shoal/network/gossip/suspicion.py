"""How long a silent member may still speak up before it is taken for dead.

Pure. Source: Lifeguard (arXiv:1707.00788); gossip.md 1.9.
"""

import math

MULTIPLIER, MAX_MULTIPLIER = 4, 6
CONFIRMATIONS = MULTIPLIER - 2  # two fewer than there may be retransmits


def bounds(members: int, interval: float) -> tuple[float, float]:
    """Return the shortest and the longest time, in seconds, among so many members."""
    shortest = MULTIPLIER * max(1.0, math.log10(max(1, members))) * interval
    return shortest, MAX_MULTIPLIER * shortest


class Suspicion:
    """One member's. Each other member that suspects it too brings the end closer."""

    def __init__(self, sender: str, members: int, interval: float, now: float) -> None:
        self._wanted = CONFIRMATIONS if members - 2 >= CONFIRMATIONS else 0
        self._shortest, self._longest = bounds(members, interval)
        self._started_at = now
        self._sender = sender
        self._confirmed: set[str] = set()

    @property
    def ends_at(self) -> float:
        """When the member is dead."""
        if not self._wanted:
            return self._started_at + self._shortest
        share = math.log(len(self._confirmed) + 1) / math.log(self._wanted + 1)
        return self._started_at + max(self._shortest, self._longest - share * (self._longest - self._shortest))

    def confirm(self, sender: str) -> bool:
        """Take in that `sender` suspects it too; whether that is news, which others should hear."""
        if len(self._confirmed) >= self._wanted or sender == self._sender or sender in self._confirmed:
            return False
        self._confirmed.add(sender)
        return True
