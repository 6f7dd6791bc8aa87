"""The order of nodes for the tasks of one group. In: a shortlist; out: the best node, again and again.

Nodes on which the group keeps failing go last. Then nodes with fewer tasks of the service go first, then nodes with
fewer tasks; equal nodes have a random order. With spread preferences the nodes form a tree, and tasks are spread evenly
over its branches first. Source: SwarmKit manager/scheduler/scheduler.go, nodeset.go.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from shoal.api import v1 as api
from shoal.manager.scheduler import constraints
from shoal.manager.scheduler.nodeinfo import NodeInfo
from shoal.manager.scheduler.shortlist import Infos, Leaf, Path, Shortlist

if TYPE_CHECKING:
    from random import Random

HasRoom = Callable[[NodeInfo], bool]
# Failures (0 if not too many), tasks of the service, all tasks, a random number that breaks ties, node id.
Rank = tuple[int, int, int, float, str]


class Look(NamedTuple):
    """What the ranking of nodes for one group depends on."""

    infos: Infos
    bad: Mapping[str, int]  # the nodes on which the group failed too often, with the count
    counts: Mapping[str, int]  # active tasks of the service by node; kept current
    rng: Random


class Pool:
    """The nodes of a leaf, best first.

    Nodes without a task of the service are drawn from the leaf one by one, least loaded first, when their turn comes.
    Only the other nodes are sorted. So a small group costs little among many nodes.
    """

    def __init__(self, leaf: Leaf, marked: Iterable[str], look: Look) -> None:
        """`marked` are the nodes of the leaf that have tasks of the service, or on which the group failed too often."""
        self._leaf = leaf
        self._infos, self._bad, self._counts, self._rng = look
        # Nodes whose place is in the heap. Not a set: with the same seed the same draws must go to the same nodes.
        self._own = dict.fromkeys(marked)
        self._draws = 2 * len(self._own) < len(leaf)
        if not self._draws:
            # Few nodes have no task of the service: finding them costs more than sorting all nodes.
            self._own |= dict.fromkeys(leaf.ids())
        # The same as `_rank`, inlined for speed: a service may have tasks on every node.
        infos, bad, count, draw = look.infos, look.bad, look.counts.get, look.rng.random
        self._heap: list[Rank] = [
            (bad.get(node_id, 0) if bad else 0, count(node_id, 0), infos[node_id].active, draw(), node_id)
            for node_id in self._own
        ]
        heapq.heapify(self._heap)
        self._drawn: list[NodeInfo] = []
        self._next: NodeInfo | None = None  # drawn, and not taken yet

    def take(self, has_room: HasRoom) -> NodeInfo | None:
        """Take out the best node that has room, and drop the nodes before it. None: no node has room."""
        while True:
            info = self._pop()
            if info is None or has_room(info):
                return info

    def put_back(self, info: NodeInfo) -> None:
        """Offer a node again, ranked by its present load."""
        heapq.heappush(self._heap, self._rank(info))

    def close(self) -> None:
        """Put the drawn nodes back into the leaf."""
        for info in self._drawn:
            self._leaf.put(info)

    def _rank(self, info: NodeInfo) -> Rank:
        node_id = info.id
        return self._bad.get(node_id, 0), self._counts.get(node_id, 0), info.active, self._rng.random(), node_id

    def _pop(self) -> NodeInfo | None:
        if self._next is None and self._draws:
            self._draw()
        idle = self._next
        if idle is not None and (not self._heap or (0, 0, idle.active) <= self._heap[0]):
            self._next = None
            return idle
        return self._infos[heapq.heappop(self._heap)[-1]] if self._heap else None

    def _draw(self) -> None:
        while (info := self._leaf.take()) is not None:
            self._drawn.append(info)
            if info.id not in self._own:
                self._next = info
                return
        self._draws = False


class Branch:
    """The nodes that share a value of a spread preference, divided further by the next preference."""

    def __init__(self) -> None:
        self.tasks = 0
        self.branches: dict[str, Branch] = {}
        self.leaf: Leaf | None = None
        self.marked: list[str] = []
        self._pool: Pool | None = None
        self._order: list[tuple[int, float, str]] | None = None  # tasks, a draw that breaks ties, value

    def take(self, has_room: HasRoom, look: Look) -> tuple[NodeInfo, Pool] | None:
        """Take the best node with room, from the branch with the fewest tasks that has one, and count a task there."""
        taken = self._take_own(has_room, look) if self.leaf is not None else self._take_below(has_room, look)
        if taken is not None:
            self.tasks += 1
        return taken

    def close(self) -> None:
        """Put the drawn nodes back into the leaves."""
        if self._pool is not None:
            self._pool.close()
        for branch in self.branches.values():
            branch.close()

    def _take_own(self, has_room: HasRoom, look: Look) -> tuple[NodeInfo, Pool] | None:
        if self._pool is None:
            assert self.leaf is not None
            self._pool = Pool(self.leaf, self.marked, look)
        info = self._pool.take(has_room)
        return None if info is None else (info, self._pool)

    def _take_below(self, has_room: HasRoom, look: Look) -> tuple[NodeInfo, Pool] | None:
        if self._order is None:
            self._order = [(branch.tasks, look.rng.random(), value) for value, branch in self.branches.items()]
            heapq.heapify(self._order)
        while self._order:
            _, _, value = heapq.heappop(self._order)
            branch = self.branches[value]
            taken = branch.take(has_room, look)
            if taken is not None:
                heapq.heappush(self._order, (branch.tasks, look.rng.random(), value))
                return taken
            # A full branch is dropped, so this loop ends.
        return None


class Ranking:
    """Ranks the nodes of a shortlist for one group. A context manager: at its end the shortlist gets its nodes back."""

    def __init__(self, shortlist: Shortlist, look: Look) -> None:
        self._look = look
        self._root = _tree(shortlist, look)
        self._taken_from: Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.close()

    def take(self, has_room: HasRoom) -> NodeInfo | None:
        """Take out the best node that has room, and drop the nodes before it. None: no node has room."""
        taken = self._root.take(has_room, self._look)
        if taken is None:
            return None
        info, self._taken_from = taken
        return info

    def put_back(self, info: NodeInfo) -> None:
        """Offer the last taken node again, ranked by its present load."""
        if self._taken_from is not None:
            self._taken_from.put_back(info)


def descriptors_of(preferences: Sequence[api.PlacementPreference]) -> Path:
    """Return the descriptors to spread tasks over, outermost first. Descriptors that are no labels are ignored."""
    return tuple(
        [
            one.spread.spread_descriptor
            for one in preferences
            if one.HasField("spread") and constraints.is_label(one.spread.spread_descriptor)
        ]
    )


def _tree(shortlist: Shortlist, look: Look) -> Branch:
    root = Branch()
    for path, leaf in shortlist.leaves.items():
        if leaf:
            branch = root
            for value in path:
                branch = branch.branches.setdefault(value, Branch())
            branch.leaf = leaf
    if not look.counts and not look.bad:
        return root
    known = look.counts if not look.bad else dict.fromkeys((*look.counts, *look.bad))
    if root.leaf is not None:
        ids = root.leaf.ids()
        root.marked = [node_id for node_id in known if node_id in ids]
        return root
    for node_id in known:
        info = look.infos.get(node_id)
        if info is None:
            continue
        # As in SwarmKit (nodeset.go, tree), a branch also counts tasks on nodes that can take no more tasks.
        tasks = look.counts.get(node_id, 0)
        branch_or_none: Branch | None = root
        for value in shortlist.path_of(info):
            branch_or_none = branch_or_none.branches.get(value) if branch_or_none else None
            if branch_or_none is not None:
                branch_or_none.tasks += tasks
        if branch_or_none is not None and node_id in (branch_or_none.leaf or ()):
            branch_or_none.marked.append(node_id)
    return root
