"""Which nodes a service avoids for a while, because its tasks keep failing on them.

In: failures with their time; out: counts. Source, also of the numbers: SwarmKit manager/scheduler/nodeinfo.go
(taskFailed, countRecentFailures).
"""

from typing import NamedTuple

# A node comes last for a spec version of a service after this many of its tasks failed there within the window.
MAX_FAILURES = 5
FAILURE_WINDOW = 300.0  # seconds


class Group(NamedTuple):
    """The tasks of one spec version of a service."""

    service_id: str
    spec_version: int


class Failures:
    """The failures of the last minutes. A task counts once, however often its failure is noted."""

    def __init__(self) -> None:
        self._at: dict[Group, dict[str, dict[str, float]]] = {}  # by node, then by task

    def __len__(self) -> int:
        return len(self._at)

    def note(self, group: Group, node_id: str, task_id: str, at: float) -> None:
        """Record that a task failed on a node."""
        self._at.setdefault(group, {}).setdefault(node_id, {})[task_id] = at

    def count(self, group: Group, node_id: str, now: float) -> int:
        """Return how many tasks of a group failed on a node within the window."""
        failures = self._at.get(group, {}).get(node_id, {})
        return sum(1 for at in failures.values() if _is_recent(at, now))

    def bad_nodes(self, group: Group, now: float) -> dict[str, int]:
        """Return the nodes that go last for a group, each with the count of failures there."""
        if group not in self._at:
            return {}
        counts = {node_id: self.count(group, node_id, now) for node_id in self._at.get(group, ())}
        return {node_id: count for node_id, count in counts.items() if count >= MAX_FAILURES}

    def forget_old(self, now: float) -> None:
        """Drop failures that are older than the window."""
        for group, nodes in list(self._at.items()):
            for node_id, failures in list(nodes.items()):
                recent = {task_id: at for task_id, at in failures.items() if _is_recent(at, now)}
                if recent:
                    nodes[node_id] = recent
                else:
                    del nodes[node_id]
            if not nodes:
                del self._at[group]


def _is_recent(at: float, now: float) -> bool:
    return now - at <= FAILURE_WINDOW
