"""Groups of tasks that found no node, and which of them a change may help.

In: what each group asks for, and a node before and after a change. Out: whether a group is worth another try. It is if
the reason against a changed node is another one than before, or if there is none: then the group has a place, or
another reason to show. Groups are found by what they lack, so the end of a task only concerns groups that ask for
something that the task had.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

from shoal.manager.scheduler.demand import Demand
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo

Judge = Callable[[str, Demand, NodeInfo], str]
"""What speaks against a node, for a service's tasks with a demand; "": nothing does."""


class Key(NamedTuple):
    """A group of tasks that ask for the same: the tasks of one spec of a service. A task without a spec version is a
    group of its own.
    """

    service_id: str
    spec_version: int
    task_id: str  # if there is no spec version


class Waiting:
    """The groups that found no node."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._demands: dict[Key, Demand] = {}
        self._by_lack: dict[Hashable, dict[Key, None]] = {}
        # Nodes that changed since the last try, with the reason against each of them before; None: it did not exist.
        self._changed: dict[Key, dict[str, str | None]] = {}

    def put(self, key: Key, demand: Demand) -> None:
        """Add a group that was tried and has no place."""
        self._changed.pop(key, None)
        if key not in self._demands:
            self._demands[key] = demand
            for lack in _asked_by(key.service_id, demand):
                self._by_lack.setdefault(lack, {})[key] = None

    def drop(self, key: Key) -> None:
        """Forget a group."""
        self._changed.pop(key, None)
        demand = self._demands.pop(key, None)
        if demand is not None:
            for lack in _asked_by(key.service_id, demand):
                self._by_lack[lack].pop(key)
                if not self._by_lack[lack]:
                    del self._by_lack[lack]

    def node_changed(self, node_id: str, before: NodeInfo | None) -> None:
        """Note that a node came, left or changed; it was `before`."""
        for key in self._demands:
            self._note(key, node_id, before)

    def gives_back(self, held: Held, before: NodeInfo | None) -> None:
        """Note what a task is about to give back to its node, which is still `before`."""
        if before is None or not self._demands:
            return
        concerned = {key: None for lack in _given_by(held) for key in self._by_lack.get(lack, ())}
        for key in concerned:
            self._note(key, held.node_id, before)

    def changed(self) -> list[Key]:
        """Return the groups that a change has concerned."""
        return list(self._changed)

    def is_worth_a_look(self, key: Key, infos: Mapping[str, NodeInfo]) -> bool:
        """Return whether the reason against one of the changed nodes is another one now. Forgets these nodes."""
        changed = self._changed.pop(key, {})
        return any(self._verdict(key, infos.get(node_id)) != verdict for node_id, verdict in changed.items())

    def _note(self, key: Key, node_id: str, before: NodeInfo | None) -> None:
        changed = self._changed.setdefault(key, {})
        if node_id not in changed:
            changed[node_id] = self._verdict(key, before)

    def _verdict(self, key: Key, info: NodeInfo | None) -> str | None:
        return None if info is None else self._judge(key.service_id, self._demands[key], info)


def _asked_by(service_id: str, demand: Demand) -> Iterable[Hashable]:
    """Return the keys of what ended tasks can give to a group."""
    if demand.nano_cpus or demand.memory_bytes or demand.generic:
        yield "resources"  # one key for all: lack of CPU refuses also who asks only for memory
    yield from demand.ports
    if demand.max_replicas:
        yield "service", service_id


def _given_by(held: Held) -> Iterable[Hashable]:
    """Return the keys of what the end of a task frees."""
    if held.nano_cpus or held.memory_bytes or held.generic:
        yield "resources"
    yield from held.ports
    if held.is_active:
        yield "service", held.service_id
