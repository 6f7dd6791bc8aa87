"""The tasks that wait for a node, and those among them to try now.

In: tasks that wait, and nodes that changed. Out: groups to try, and tasks that came with their node. A group that was
tried is tried again only after a node has changed in a way that matters to it (`waiting`).
"""

from collections.abc import Iterator, Mapping
from itertools import islice

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import Demand
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo
from shoal.manager.scheduler.waiting import Judge, Key, Waiting

# Groups are read from the list this many at a time, because groups that were tried leave the list. Usually a plan is
# full before all were tried.
_AT_A_TIME = 500


class Queues:
    """Tasks that are PENDING."""

    def __init__(self, judge: Judge) -> None:
        self._waiting = Waiting(judge)
        self._groups: dict[Key, dict[str, None]] = {}
        self._key_of: dict[str, Key] = {}
        self._to_try: dict[Key, None] = {}
        self._preassigned: dict[str, dict[str, None]] = {}  # by node
        self._node_of: dict[str, str] = {}
        self._preassigned_to_try: dict[str, None] = {}
        self._unwanted: dict[str, None] = {}  # told to stop before they had a node

    @property
    def have_work(self) -> bool:
        """Return whether anything has not been tried yet."""
        return bool(self._to_try or self._preassigned_to_try or self._unwanted or self._waiting.changed())

    def put(self, task: api.Task) -> None:
        """Add a PENDING task. A task that already waits is not tried again because of this."""
        task_id, desired = task.id, task.desired_state
        if desired > api.COMPLETE:
            self.forget(task_id)
            if desired == api.SHUTDOWN:  # the reaper removes tasks with a higher desired state
                self._unwanted[task_id] = None
        elif task.node_id:
            if task_id not in self._node_of:
                self._node_of[task_id] = task.node_id
                self._preassigned.setdefault(task.node_id, {})[task_id] = None
                self._preassigned_to_try[task_id] = None
        elif task_id not in self._key_of:
            key = _key(task)
            self._key_of[task_id] = key
            self._groups.setdefault(key, {})[task_id] = None
            self._to_try[key] = None

    def forget(self, task_id: str) -> None:
        """Drop a task that no longer waits."""
        self._unwanted.pop(task_id, None)
        key = self._key_of.pop(task_id, None)
        if key is not None:
            group = self._groups[key]
            del group[task_id]
            if not group:
                del self._groups[key]
                self._to_try.pop(key, None)
                self._waiting.drop(key)
            return
        node_id = self._node_of.pop(task_id, None)
        if node_id is not None:
            self._preassigned_to_try.pop(task_id, None)
            tasks = self._preassigned[node_id]
            del tasks[task_id]
            if not tasks:
                del self._preassigned[node_id]

    def node_changed(self, node_id: str, before: NodeInfo | None) -> None:
        """Note that a node came, left or changed; it was `before`. Waiting tasks may have a place now, or another
        reason.
        """
        self._waiting.node_changed(node_id, before)
        self._preassigned_to_try.update(self._preassigned.get(node_id, {}))

    def gives_back(self, held: Held, before: NodeInfo | None) -> None:
        """Note that a task is about to give back its resources of a node, which is still `before`."""
        self._waiting.gives_back(held, before)
        self._preassigned_to_try.update(self._preassigned.get(held.node_id, {}))

    def groups_to_try(self, infos: Mapping[str, NodeInfo]) -> Iterator[Key]:
        """Yield the groups that may have a place, on the nodes as they are when each group is yielded.

        Before the next group the caller must call `tried`. Or it calls `put_off` and stops.
        """
        while groups := list(islice(self._to_try, _AT_A_TIME)):
            yield from groups
        for key in self._waiting.changed():
            if self._waiting.is_worth_a_look(key, infos):
                yield key

    def tasks_of(self, key: Key) -> list[str]:
        """Return the tasks of a group that still wait."""
        return list(self._groups.get(key, ()))

    def tried(self, key: Key, demand: Demand) -> None:
        """Note that the tasks that are left of a group have no place for now."""
        self._to_try.pop(key, None)
        if key in self._groups:
            self._waiting.put(key, demand)

    def put_off(self, key: Key) -> None:
        """Note that the rest of a group must be tried another time, even if nothing changes."""
        if key in self._groups:
            self._to_try[key] = None

    def preassigned_to_try(self) -> list[str]:
        """Return the tasks to try that came with their node."""
        return list(self._preassigned_to_try)

    def tried_preassigned(self, task_id: str) -> None:
        """Note that a task that came with its node was tried."""
        self._preassigned_to_try.pop(task_id, None)

    def unwanted(self) -> list[str]:
        """Return the tasks to end that never had a node."""
        return list(self._unwanted)


def _key(task: api.Task) -> Key:
    if task.HasField("spec_version"):
        return Key(task.service_id, task.spec_version.index, "")
    return Key(task.service_id, 0, task.id)
