"""In which order nodes are offered for the tasks of one group. In: the node set, the filters; out: the best node, again
and again.

Nodes on which the group keeps failing go last; then those with fewer tasks of the service go first; then those with
fewer tasks. Spread preferences put a tree above that, whose branches are kept even. Source: SwarmKit
manager/scheduler/scheduler.go, nodeset.go.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from shoal.api import v1 as api
from shoal.manager.scheduler import constraints
from shoal.manager.scheduler.nodes import NodeInfo, NodeSet

Passes = Callable[[NodeInfo], bool]
Rank = tuple[int, int, int]  # failures if too many, tasks of the service, tasks


class Pool:
    """Some nodes, best first.

    Nodes without a task of the service need no sorting by it: they are drawn from `idle`, which yields them by rising
    number of tasks, and judged only when their turn comes. So a small group costs little among many nodes.
    """

    def __init__(
        self, busy: Iterable[NodeInfo], idle: Iterable[NodeInfo], bad: Mapping[str, int], counts: Mapping[str, int]
    ) -> None:
        self._bad = bad
        self._counts = counts
        self._numbers = count()
        self._heap: list[tuple[Rank, int, NodeInfo]] = [(self._rank(info), next(self._numbers), info) for info in busy]
        heapq.heapify(self._heap)
        self._seen = {info.node.id for _, _, info in self._heap}
        self._idle = iter(idle)
        self._next = self._draw()

    def take(self, passes: Passes) -> NodeInfo | None:
        """Take out the best node that passes; those that do not pass are gone for good. None: there is no other."""
        while True:
            info = self._pop()
            if info is None or passes(info):
                return info

    def put_back(self, info: NodeInfo) -> None:
        """Offer a node, or offer it again with what it took on since."""
        self._seen.add(info.node.id)
        heapq.heappush(self._heap, (self._rank(info), next(self._numbers), info))

    def _rank(self, info: NodeInfo) -> Rank:
        node_id = info.node.id
        return self._bad.get(node_id, 0), self._counts.get(node_id, 0), info.active

    def _pop(self) -> NodeInfo | None:
        idle = self._next
        if idle is not None and (not self._heap or (0, 0, idle.active) <= self._heap[0][0]):
            self._seen.add(idle.node.id)
            self._next = self._draw()
            return idle
        return heapq.heappop(self._heap)[2] if self._heap else None

    def _draw(self) -> NodeInfo | None:
        for info in self._idle:
            if info.node.id not in self._seen:
                return info
        return None


class Branch:
    """A value of a spread preference: the nodes that have it, parted further by the next preference."""

    def __init__(self) -> None:
        self.tasks = 0
        self.branches: dict[str, Branch] = {}
        self.nodes: list[NodeInfo] = []
        self.pool: Pool | None = None

    def take(self, passes: Passes) -> tuple[NodeInfo, Pool] | None:
        """Take the best node of the branch with the fewest tasks that has room, and count a task there."""
        if self.pool is not None:
            info = self.pool.take(passes)
            taken = None if info is None else (info, self.pool)
        else:
            taken = None
            while taken is None and self.branches:
                value, fewest = min(self.branches.items(), key=lambda item: item[1].tasks)
                taken = fewest.take(passes)
                if taken is None:
                    del self.branches[value]
        if taken is not None:
            self.tasks += 1
        return taken


def rank(
    nodes: NodeSet, service_id: str, bad: Mapping[str, int], preferences: Sequence[api.PlacementPreference]
) -> Branch:
    """Return all nodes, ready to be taken for tasks of a service."""
    counts = nodes.counts(service_id)
    descriptors = [one.spread.spread_descriptor for one in preferences if one.HasField("spread")]
    # A descriptor of another kind is ignored: no node has a value for it.
    descriptors = [one for one in descriptors if constraints.label_of(one, _NO_NODE) is not None]
    root = Branch()
    if not descriptors:
        busy = [nodes.infos[node_id] for node_id in {**counts, **bad} if node_id in nodes.infos]
        root.pool = Pool(busy, nodes.by_load(), bad, counts)
        return root
    for info in nodes.infos.values():
        branch = root
        for descriptor in descriptors:
            branch.tasks += counts.get(info.node.id, 0)
            branch = branch.branches.setdefault(constraints.label_of(descriptor, info.node) or "", Branch())
        branch.tasks += counts.get(info.node.id, 0)
        branch.nodes.append(info)
    for leaf in _leaves(root):
        busy = [info for info in leaf.nodes if info.node.id in counts or info.node.id in bad]
        leaf.pool = Pool(busy, sorted(leaf.nodes, key=lambda info: info.active), bad, counts)
    return root


_NO_NODE = api.Node()


def _leaves(branch: Branch) -> Iterator[Branch]:
    if branch.nodes:
        yield branch
    for below in branch.branches.values():
        yield from _leaves(below)
