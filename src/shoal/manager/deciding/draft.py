"""Collects the changes of one plan.

In: the view. Out: a tuple of changes, at most one for each object. A draft lets a decider change an object twice in one
call, and ask what it has already changed. It decides nothing itself.
"""

from collections.abc import Iterable
from typing import TypeVar

from shoal.api import v1 as api
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.store.changes import Change, Create, Object, Remove, Update, copy
from shoal.store.memory import View

_T = TypeVar("_T", bound=Object)


class Draft:
    """A view, and the changes that one decider has made so far."""

    def __init__(self, view: View, now: float) -> None:
        self.view = view
        self.now = now
        self.notes: list[str] = []
        self._changes: dict[str, Change] = {}
        self._filled: set[tuple[str, int, str]] = set()

    @property
    def is_full(self) -> bool:
        """Return whether further changes should wait for the next plan; see `plan.MAX_CHANGES`."""
        return len(self._changes) >= MAX_CHANGES

    @property
    def room(self) -> int:
        """Return how many further changes the plan may have, at least 0."""
        return max(0, MAX_CHANGES - len(self._changes))

    def create(self, task: api.Task) -> None:
        """Create a task."""
        self._changes[task.id] = Create(task)
        # A new task has a node only if the node is its place.
        self._filled.add((task.service_id, task.slot, task.node_id))

    def update(self, obj: Object) -> None:
        """Set an object to this value, whether it is in the store or only in this draft."""
        drafted = self._changes.get(obj.id)
        self._changes[obj.id] = Create(obj) if isinstance(drafted, Create) else Update(obj)

    def newest(self, kind: type[_T], object_id: str) -> _T | None:
        """Return an object as this draft leaves it."""
        drafted = self._changes.get(object_id)
        if isinstance(drafted, Create | Update) and isinstance(drafted.obj, kind):
            return drafted.obj
        return None if isinstance(drafted, Remove) else self.view.table(kind).get(object_id)

    def set_desired(self, task: api.Task, state: api.TaskState) -> None:
        """Change the desired state of a task."""
        changed = copy(task)
        changed.desired_state = state
        self.update(changed)

    def set_all_desired(self, tasks: Iterable[api.Task], state: api.TaskState) -> bool:
        """Raise the desired state of tasks while there is room. Return whether there was room for all of them."""
        for task in tasks:
            if task.desired_state < state:
                if self.is_full:
                    return False
                self.set_desired(task, state)
        return True

    def remove_task(self, task_id: str) -> None:
        """Remove a task that is in the store."""
        self._changes[task_id] = Remove(api.Task, task_id)

    def touches(self, object_id: str) -> bool:
        """Return whether this draft changes the object."""
        return object_id in self._changes

    def fills(self, service_id: str, place: tuple[int, str]) -> bool:
        """Return whether this draft creates a task in a place: (slot, "") or (0, node id)."""
        return (service_id, *place) in self._filled

    def changes(self) -> tuple[Change, ...]:
        """Return every change, in the order in which the objects were first touched."""
        return tuple(self._changes.values())
