"""Groups of tasks that found no node, and which of them a change may help.

In: what each group asks for, what changes at a node, seen before and after; out: whether a group is worth another look.
That is so where something else speaks against a node than did before, or nothing: then there is a place, or another
reason to tell. Groups are found by what they lack, so that an end of a task concerns nobody who asks for nothing that
the task had.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

from shoal.manager.scheduler.demand import Demand
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo

Judge = Callable[[str, Demand, NodeInfo], str]
"""What speaks against a node, for a service's tasks with a demand; "": nothing does."""


class Key(NamedTuple):
    """A group of tasks that ask for the same: those of one spec of a service; any other task is alone."""

    service_id: str
    spec_version: int
    task_id: str  # where there is no spec version


class Waiting:
    """The groups that found no node."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._demands: dict[Key, Demand] = {}
        self._by_lack: dict[Hashable, dict[Key, None]] = {}
        # Nodes that changed since the last look, with what spoke against each of them at that time; None: it was not
        # there.
        self._changed: dict[Key, dict[str, str | None]] = {}

    def put(self, key: Key, demand: Demand) -> None:
        """Take in a group that was looked at, and has no place."""
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
        """Take in that a node came, went or differs; `before` as it was."""
        for key in self._demands:
            self._note(key, node_id, before)

    def gives_back(self, held: Held, before: NodeInfo | None) -> None:
        """Take in what a task is about to give back to its node, which is `before` as yet."""
        if before is None or not self._demands:
            return
        concerned = {key: None for lack in _given_by(held) for key in self._by_lack.get(lack, ())}
        for key in concerned:
            self._note(key, held.node_id, before)

    def changed(self) -> list[Key]:
        """Return the groups that a change concerned."""
        return list(self._changed)

    def is_worth_a_look(self, key: Key, infos: Mapping[str, NodeInfo]) -> bool:
        """Return whether something else speaks against one of the changed nodes now. They are forgotten."""
        changed = self._changed.pop(key, {})
        return any(self._verdict(key, infos.get(node_id)) != verdict for node_id, verdict in changed.items())

    def _note(self, key: Key, node_id: str, before: NodeInfo | None) -> None:
        changed = self._changed.setdefault(key, {})
        if node_id not in changed:
            changed[node_id] = self._verdict(key, before)

    def _verdict(self, key: Key, info: NodeInfo | None) -> str | None:
        return None if info is None else self._judge(key.service_id, self._demands[key], info)


def _asked_by(service_id: str, demand: Demand) -> Iterable[Hashable]:
    """Return what ends of tasks can give a group."""
    if demand.nano_cpus or demand.memory_bytes or demand.generic:
        yield "resources"  # one kind of all: who asks for memory alone is refused by a node whose CPUs are overdrawn
    yield from demand.ports
    if demand.max_replicas:
        yield "service", service_id


def _given_by(held: Held) -> Iterable[Hashable]:
    """Return what the end of a task gives to who asks for it."""
    if held.nano_cpus or held.memory_bytes or held.generic:
        yield "resources"
    yield from held.ports
    if held.is_active:
        yield "service", held.service_id
