"""How often a certificate may be asked for. Pure.

In: who asks, the time. Out: nothing, or the refusal. Each request is written to every manager's store, signed, and told
to whoever watches nodes. A node asks a few times a year, once for each change of its role, and once while the root is
changed; one that joins asks once, and again if it did not hear the answer.
"""

from collections.abc import Hashable

from shoal.errors import ResourceExhausted
from shoal.manager.port.allowances import Bucket, Rate

# Of one node, or of one key without a node.
REQUESTS = Rate(50, 0.1)
# Whoever has been silent longest is forgotten first. More than there may be nodes that never came.
REMEMBERED = 20_000


class Requests:
    """Counts the requests of nodes and of joiners' keys."""

    def __init__(self, rate: Rate = REQUESTS, remembered: int = REMEMBERED) -> None:
        self._rate = rate
        self._remembered = remembered
        self._of: dict[Hashable, Bucket] = {}

    def take(self, who: Hashable, name: str, now: float) -> None:
        """Count a request; `name` is who it is in words. Raises ResourceExhausted, and does not count those."""
        bucket = self._of.pop(who, None) or Bucket(self._rate, now)
        self._of[who] = bucket  # the newest is the last
        if len(self._of) > self._remembered:
            del self._of[next(iter(self._of))]
        wait = bucket.lacks(1, now)
        if wait:
            raise ResourceExhausted(
                f"{name} has asked for certificates {self._rate.burst:g} times in a short while: "
                f"it gets another one in {wait:.1f} s"
            )
        bucket.spend(1, now)
