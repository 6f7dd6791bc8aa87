"""How long this manager's etcd waits for a leader: longer while elections follow one another. Pure.

In: lines of etcd's log, instants. Out: whether etcd should be slow, and when to look again. `etcd_process` starts etcd
anew where the answer has changed. Why this is safe: docs/decisions/0007-etcd-peers.md.
"""

from collections import deque
from collections.abc import Iterable
from math import inf

# A healthy swarm elects when a manager is lost. Six elections within a minute have another reason: the managers' hosts
# are too slow for the time that etcd waits, and each election makes them slower.
ELECTIONS, WITHIN = 6, 60.0
# Seconds without an election after which etcd is quick again. If that was too soon, the next time is twice as long.
CALM, LONGEST_CALM = 600.0, 4 * 3600.0
# Seconds that each manager leaves to those before it, to start their etcd anew: some 0.3 s on a calm machine.
TURN = 20.0
# etcd's log when a member gets to know a leader: etcd 3.4 and 3.5, raft/node.go.
_OF_RAFT = "raft.node: "
_SIGNS = (" elected leader ", " changed leader from ")


def is_election(text: str) -> bool:
    """Return whether a line of etcd's log says that this member has another leader, or its old one again."""
    return text.startswith(_OF_RAFT) and any(sign in text for sign in _SIGNS)


def turn(own: str, others: Iterable[str]) -> float:
    """Return for how long a manager waits before it starts its etcd anew, as all managers may want to at once."""
    return TURN * sorted({own, *others}).index(own)


class Pace:
    """Whether one etcd should be slow."""

    def __init__(self) -> None:
        self.is_slow = False
        self._elections: deque[float] = deque(maxlen=ELECTIONS)
        self._is_first = True
        self._calm = CALM
        self._quick_since = -inf

    def started(self) -> None:
        """Note that etcd was started. The leader that it finds then is no election."""
        self._is_first = True

    def heard(self, now: float) -> None:
        """Note that etcd has another leader, or its old one again."""
        if self._is_first:
            self._is_first = False
            return
        self._elections.append(now)
        if self.is_slow or len(self._elections) < ELECTIONS or now - self._elections[0] > WITHIN:
            return
        was_too_soon = now - self._quick_since < self._calm
        self._calm = min(2 * self._calm, LONGEST_CALM) if was_too_soon else CALM
        self.is_slow = True

    def look(self, now: float) -> float | None:
        """End the slow time if it was calm for long enough. Return when to look again; None: at the next election."""
        if not self.is_slow:
            return None
        calm_at = self._elections[-1] + self._calm
        if now < calm_at:
            return calm_at
        self.is_slow, self._quick_since = False, now
        self._elections.clear()
        return None
