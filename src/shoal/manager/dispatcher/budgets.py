"""Limits how many bytes each node may make the managers write. Pure.

In: the bytes that a call of a node would write, and the time. Out: how long the call must wait. What a node reports is
written to every manager's store, log and memory. A node that reports without end must not fill these or delay others.
"""

from shoal.errors import Unavailable

# A thousand tasks that start at once report three times each, and a task takes some 3 kB: these pass without a wait.
BURST_BYTES = 16 * 1024 * 1024
BYTES_A_SECOND = 2 * 1024 * 1024
# Seconds. Shoal's and Docker's agents give up a call after five seconds, and report again.
LONGEST_WAIT = 4.0


class Budgets:
    """What each node has spent of its budget."""

    def __init__(self, *, burst_bytes: int = BURST_BYTES, bytes_a_second: int = BYTES_A_SECOND) -> None:
        self._burst_bytes = burst_bytes
        self._bytes_a_second = bytes_a_second
        self._free_at: dict[str, float] = {}  # when a node's budget is full again, if it spends nothing more

    def spend(self, node_id: str, size_bytes: int, now: float) -> float:
        """Take bytes from a node's budget, and return after how many seconds they may be written.

        Raises Unavailable, and takes nothing, if that is longer than LONGEST_WAIT. A call that is larger than a whole
        budget counts as one whole budget, so that an honest node with so much to report succeeds.
        """
        size_bytes = min(size_bytes, self._burst_bytes)
        whole = self._burst_bytes / self._bytes_a_second  # seconds in which an empty budget fills
        free_at = max(now, self._free_at.get(node_id, now)) + size_bytes / self._bytes_a_second
        delay = max(0.0, free_at - now - whole)
        if delay > LONGEST_WAIT:
            raise Unavailable(f"node {node_id} reports more than {self._bytes_a_second >> 10} KiB a second")
        self._free_at[node_id] = free_at
        return delay

    def forget(self, node_id: str) -> None:
        """Drop a node that was removed from the swarm."""
        self._free_at.pop(node_id, None)
