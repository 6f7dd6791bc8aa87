"""Keeps the nodes that satisfy the standing half of a demand (`demand`), least loaded first.

SwarmKit looks at every node for every group of tasks. Here the list of matching nodes is kept, and corrected when a
node changes. So the cost of a group depends on its own size and not on that of the swarm. In: nodes as they change;
out: the least loaded node, again and again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, KeysView, Mapping
from typing import TYPE_CHECKING

from shoal.manager.scheduler import constraints
from shoal.manager.scheduler.demand import Standing
from shoal.manager.scheduler.filters import satisfies, standing_filters
from shoal.manager.scheduler.nodeinfo import NodeInfo

if TYPE_CHECKING:
    from random import Random

Infos = Mapping[str, NodeInfo]
Path = tuple[str, ...]  # a node's values for the descriptors of spread preferences
Entry = tuple[int, float, str]  # active tasks when it was listed, a random number that breaks ties, node id

# A heap is rebuilt when it has more than _SLACK entries for each node, plus _SMALL: most of them are then out of date.
_SLACK, _SMALL = 2, 64


class Leaf:
    """Some nodes, least loaded first, equal ones in random order.

    The entries of the heap may be out of date. An entry with too few tasks is corrected when it reaches the top; an
    entry with too many is replaced by `lower`. So when a node gains tasks nothing is to do here, however many leaves
    list it.
    """

    __slots__ = ("_heap", "_infos", "_listed", "_rng", "path")

    def __init__(self, infos: Infos, rng: Random, path: Path = ()) -> None:
        self.path = path
        self._infos = infos
        self._rng = rng
        self._heap: list[Entry] = []
        self._listed: dict[str, Entry | None] = {}  # the entry that counts; None while it is taken out

    def __len__(self) -> int:
        return len(self._listed)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._listed

    def ids(self) -> KeysView[str]:
        """Return the ids of all nodes of the leaf, also of those taken out."""
        return self._listed.keys()

    def fill(self, infos: Iterable[NodeInfo]) -> None:
        """Set the nodes of an empty leaf."""
        draw = self._rng.random
        self._listed = {(name := info.id): (info.active, draw(), name) for info in infos}
        self._heap = list(self._listed.values())  # type: ignore[arg-type] # none is taken out
        heapq.heapify(self._heap)

    def put(self, info: NodeInfo) -> None:
        """Add a node, or put back one that was taken out."""
        entry = (info.active, self._rng.random(), info.id)
        self._listed[info.id] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > _SLACK * len(self._listed) + _SMALL:
            self._heap = [one for one in self._listed.values() if one is not None]
            heapq.heapify(self._heap)

    def lower(self, info: NodeInfo) -> None:
        """Note that a node has fewer tasks."""
        entry = self._listed[info.id]
        if entry is not None and entry[0] > info.active:
            self.put(info)

    def discard(self, node_id: str) -> None:
        """Drop a node."""
        self._listed.pop(node_id, None)

    def first(self, has_room: Callable[[NodeInfo], bool]) -> NodeInfo | None:
        """Return the least loaded node that has room, without taking it out."""
        full: list[NodeInfo] = []
        found = None
        while found is None and (entry := self._top()) is not None:
            info = self._infos[entry[2]]
            if has_room(info):
                found = info
            else:
                heapq.heappop(self._heap)
                self._listed[info.id] = None
                full.append(info)
        for info in full:
            self.put(info)
        return found

    def take(self) -> NodeInfo | None:
        """Take out the least loaded node. It must be put back before any node changes. None: all are out."""
        entry = self._top()
        if entry is None:
            return None
        heapq.heappop(self._heap)
        self._listed[entry[2]] = None
        return self._infos[entry[2]]

    def _top(self) -> Entry | None:
        """Return the first entry of the heap that is up to date; correct or drop those before it."""
        heap, listed = self._heap, self._listed
        while heap:
            entry = heap[0]
            load, draw, node_id = entry
            if listed.get(node_id) is not entry:
                heapq.heappop(heap)  # superseded, or gone
                continue
            active = self._infos[node_id].active
            if active <= load:
                return entry
            later = listed[node_id] = (active, draw, node_id)
            heapq.heapreplace(heap, later)
        return None


class Shortlist:
    """The nodes that satisfy a standing half, with one leaf for each combination of values of the descriptors."""

    def __init__(self, standing: Standing, descriptors: Path, infos: Infos, rng: Random) -> None:
        self._filters = standing_filters(standing)
        self._descriptors = descriptors
        self._infos = infos
        self._rng = rng
        self._leaf_of: dict[str, Leaf] = {}
        self.leaves: dict[Path, Leaf] = {}
        parted: dict[Path, list[NodeInfo]] = {}
        # Filter by filter, and not node by node, because that is faster over all nodes of a swarm.
        fitting: Iterable[NodeInfo] = infos.values()
        for one in self._filters.values():
            fitting = filter(one.check, fitting)
        if descriptors:
            for info in fitting:
                parted.setdefault(self.path_of(info), []).append(info)
        elif members := list(fitting):
            parted[()] = members
        for path, members in parted.items():
            leaf = self._leaf_at(path)
            leaf.fill(members)
            self._leaf_of.update(dict.fromkeys(leaf.ids(), leaf))

    def path_of(self, info: NodeInfo) -> Path:
        """Return a node's values for the descriptors, "" for a label that it lacks. The node need not be listed."""
        return tuple([constraints.label_of(one, info.node) or "" for one in self._descriptors])

    def leaf_of(self, node_id: str) -> Leaf | None:
        """Return the leaf of a node; None if the node is not listed."""
        return self._leaf_of.get(node_id)

    def first(self, has_room: Callable[[NodeInfo], bool]) -> NodeInfo | None:
        """Return the least loaded node that has room. Only for a shortlist without descriptors."""
        leaf = self.leaves.get(())
        return None if leaf is None else leaf.first(has_room)

    def judge(self, info: NodeInfo) -> None:
        """Add a new node, or look at a changed node again."""
        self.drop(info.id)
        if satisfies(self._filters, info):
            leaf = self._leaf_at(self.path_of(info))
            leaf.put(info)
            self._leaf_of[info.id] = leaf

    def drop(self, node_id: str) -> None:
        """Drop a node."""
        leaf = self._leaf_of.pop(node_id, None)
        if leaf is not None:
            leaf.discard(node_id)
            if not leaf:
                # Label values come and go, so empty leaves would pile up.
                del self.leaves[leaf.path]

    def lower(self, info: NodeInfo) -> None:
        """Note that a node has fewer tasks."""
        leaf = self._leaf_of.get(info.id)
        if leaf is not None:
            leaf.lower(info)

    def _leaf_at(self, path: Path) -> Leaf:
        leaf = self.leaves.get(path)
        if leaf is None:
            leaf = self.leaves[path] = Leaf(self._infos, self._rng, path)
        return leaf


# Each shortlist costs a little with every change of a node. When there are too many, the one that was not used for the
# longest time is dropped; it is built again when it is needed.
MAX_SHORTLISTS = 64


class Shortlists:
    """The shortlists that were used last."""

    def __init__(self, infos: Infos, rng: Random) -> None:
        self._infos = infos
        self._rng = rng
        self._lists: dict[tuple[Standing, Path], Shortlist] = {}  # the last used one comes last
        self._last: tuple[tuple[Standing, Path], Shortlist] | None = None  # the same one

    def get(self, standing: Standing, descriptors: Path) -> Shortlist:
        """Return the nodes that satisfy the standing half of a demand. The shortlist is kept current."""
        key = standing, descriptors
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        found = self._lists.pop(key, None)
        if found is None:
            if len(self._lists) >= MAX_SHORTLISTS:
                del self._lists[next(iter(self._lists))]
            found = Shortlist(standing, descriptors, self._infos, self._rng)
        self._lists[key] = found
        self._last = key, found
        return found

    def judge(self, info: NodeInfo) -> None:
        """Add a new node, or look at a changed node again."""
        for shortlist in self._lists.values():
            shortlist.judge(info)

    def drop(self, node_id: str) -> None:
        """Drop a node."""
        for shortlist in self._lists.values():
            shortlist.drop(node_id)

    def lower(self, info: NodeInfo) -> None:
        """Note that a node has fewer tasks."""
        for shortlist in self._lists.values():
            shortlist.lower(info)
