"""How much each node may make its managers write. Pure.

In: bytes that a call of a node's wants written, and the time. Out: how long it has to wait for its turn. What nodes say
goes into every manager's store, log and memory; one that never stops must not fill them, nor hold up the others.
"""

from shoal.errors import Unavailable

# A thousand tasks that start at once report three times each, and a task takes some 3 kB: they pass without waiting.
BURST_BYTES = 16 * 1024 * 1024
BYTES_A_SECOND = 2 * 1024 * 1024
# Agents, ours and Docker's, give up a call after five seconds, and report again.
LONGEST_WAIT = 4.0


class Budgets:
    """What each node has spent lately."""

    def __init__(self, *, burst_bytes: int = BURST_BYTES, bytes_a_second: int = BYTES_A_SECOND) -> None:
        self._burst_bytes = burst_bytes
        self._bytes_a_second = bytes_a_second
        self._free_at: dict[str, float] = {}  # when all of a node's budget is there again, if it spends nothing

    def spend(self, node_id: str, size_bytes: int, now: float) -> float:
        """Take bytes from a node's budget, and return after how many seconds they may be written.

        Raises Unavailable, and takes nothing, where that is too long. What is larger than a whole budget counts as one:
        an honest node that has so much to say is heard, too.
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
        """Drop a node that was removed."""
        self._free_at.pop(node_id, None)
