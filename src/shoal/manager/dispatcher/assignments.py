"""What a stream has told its node to run, and the changes still to be sent.

In: tasks of the node as the store has them, and a look-up for secrets and configs; out: the changes to send next. Each
stream has its own `AssignmentSet`. It keeps one change for each object, not a queue, so all changes that happen while
a message is on its way are sent as one message. Source of the rules: SwarmKit manager/dispatcher/assignments.go.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from shoal.api import v1 as api

SECRET, CONFIG = "secret", "config"
Reference = tuple[str, str]  # (SECRET or CONFIG, id)

_STABLE = tuple(field.name for field in api.Task.DESCRIPTOR.fields if field.name not in {"status", "meta"})


def same_but_status(one: api.Task, other: api.Task) -> bool:
    """Return whether two versions of a task differ in nothing but the status (and the meta data of the store)."""
    return one.desired_state == other.desired_state and all(getattr(one, f) == getattr(other, f) for f in _STABLE)


def references(task: api.Task) -> set[Reference]:
    """Return the secrets and configs that a task needs."""
    container = task.spec.container
    found = {(SECRET, reference.secret_id) for reference in container.secrets}
    found.update((CONFIG, reference.config_id) for reference in container.configs)
    for reference in task.spec.resource_references:
        if reference.resource_type == api.ResourceType.SECRET:
            found.add((SECRET, reference.resource_id))
        elif reference.resource_type == api.ResourceType.CONFIG:
            found.add((CONFIG, reference.resource_id))
    return found


class AssignmentSet:
    """The tasks, secrets and configs that a stream has sent to its node, and the changes still to be sent.

    A task belongs to the set from ASSIGNED on until it is deleted; a secret or config while a task that has not ended
    refers to it. Every method may be repeated.
    """

    def __init__(self, secret: Callable[[str], api.Secret | None], config: Callable[[str], api.Config | None]) -> None:
        self._secret = secret
        self._config = config
        self._tasks: dict[str, api.Task] = {}
        self._users: dict[Reference, set[str]] = {}
        self._held: dict[str, set[Reference]] = {}
        self._changes: dict[tuple[str, str], api.AssignmentChange] = {}

    def __bool__(self) -> bool:
        """Return whether there are changes to send."""
        return bool(self._changes)

    def put(self, task: api.Task) -> None:
        """Add or update a task of this node. A change of its status alone is not sent: the node reported it itself."""
        if task.status.state < api.ASSIGNED:
            return
        known = self._tasks.get(task.id)
        if known is task:
            return
        self._tasks[task.id] = task
        if known is None and task.status.state <= api.RUNNING:
            self._hold(task)
        if task.status.state > api.RUNNING:
            self._release(task.id)
        if known is None or task.status.state <= api.ASSIGNED or not same_but_status(known, task):
            self._tell(("task", task.id), api.Assignment(task=task), api.AssignmentChange.UPDATE)

    def drop(self, task_id: str) -> None:
        """Drop a task that is no longer in the store."""
        if self._tasks.pop(task_id, None) is None:
            return
        self._release(task_id)
        self._tell(("task", task_id), api.Assignment(task=api.Task(id=task_id)), api.AssignmentChange.REMOVE)

    def resync(self, tasks: Iterable[api.Task]) -> None:
        """Make the set hold exactly these tasks. For use when changes may have been missed."""
        present = {task.id: task for task in tasks}
        for task_id in [known for known in self._tasks if known not in present]:
            self.drop(task_id)
        for task in present.values():
            self.put(task)

    def take(self) -> list[api.AssignmentChange]:
        """Return the changes to send and count them as sent."""
        changes = list(self._changes.values())
        self._changes.clear()
        return changes

    def tasks(self) -> Iterator[api.Task]:
        """Iterate over the tasks of the node."""
        return iter(self._tasks.values())

    def _hold(self, task: api.Task) -> None:
        held = self._held[task.id] = references(task)
        for reference in held:
            users = self._users.setdefault(reference, set())
            if not users:
                self._tell_dependency(reference)
            users.add(task.id)

    def _tell_dependency(self, reference: Reference) -> None:
        kind, object_id = reference
        if kind == SECRET:
            secret = self._secret(object_id)
            # A secret of a driver has its value in a plugin, which Shoal does not have. SwarmKit too leaves such a
            # secret out when its plugin fails.
            if secret is not None and not secret.spec.HasField("driver"):
                self._tell(reference, api.Assignment(secret=secret), api.AssignmentChange.UPDATE)
            return
        config = self._config(object_id)
        if config is not None:
            self._tell(reference, api.Assignment(config=config), api.AssignmentChange.UPDATE)

    def _release(self, task_id: str) -> None:
        for reference in self._held.pop(task_id, ()):
            users = self._users[reference]
            users.discard(task_id)
            if users:
                continue
            del self._users[reference]
            kind, object_id = reference
            gone = (
                api.Assignment(secret=api.Secret(id=object_id))
                if kind == SECRET
                else api.Assignment(config=api.Config(id=object_id))
            )
            self._tell(reference, gone, api.AssignmentChange.REMOVE)

    def _tell(
        self, key: tuple[str, str], assignment: api.Assignment, action: api.AssignmentChange.AssignmentAction
    ) -> None:
        self._changes[key] = api.AssignmentChange(assignment=assignment, action=action)


# A Docker Engine refuses a message of more than 4 MiB and then asks again and again. Eight large secrets are as much.
MAX_MESSAGE_BYTES = 3 << 20


class Messages:
    """Numbers the messages of one stream: the first is COMPLETE, each later one names the one before it."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._sequence = 0
        self._max_bytes = max_bytes

    def split(self, changes: Sequence[api.AssignmentChange]) -> Iterator[api.AssignmentsMessage]:
        """Yield the messages for these changes: one, unless they are too large for it.

        Otherwise secrets and configs go before the tasks that need them, and what is to be forgotten goes last. But a
        COMPLETE message names every task that the node may be running, because it would end all others. What those of
        them need that are not started yet comes next, in the same message as far as there is room.
        """
        if sum(change.ByteSize() for change in changes) <= self._max_bytes:
            yield self.next(changes)
            return
        first = [change for change in changes if not self._sequence and _may_run(change)]
        rest = [change for change in changes if self._sequence or not _may_run(change)]
        part, size = first, sum(change.ByteSize() for change in first)
        starting = [task for task in (change.assignment.task for change in first) if task.status.state < api.RUNNING]
        needed = set[Reference]().union(*map(references, starting))
        for change in sorted(rest, key=lambda change: _order(change, needed)):
            if part and size + change.ByteSize() > self._max_bytes:
                yield self.next(part)
                part, size = [], 0
            part.append(change)
            size += change.ByteSize()
        yield self.next(part)

    def next(self, changes: Iterable[api.AssignmentChange]) -> api.AssignmentsMessage:
        """Return the message for these changes."""
        applies_to = str(self._sequence) if self._sequence else ""
        self._sequence += 1
        return api.AssignmentsMessage(
            type=api.AssignmentsMessage.INCREMENTAL if applies_to else api.AssignmentsMessage.COMPLETE,
            applies_to=applies_to,
            results_in=str(self._sequence),
            changes=changes,
        )


def _may_run(change: api.AssignmentChange) -> bool:
    """Return whether a change is of a task that its node has reported."""
    return change.assignment.HasField("task") and change.assignment.task.status.state > api.ASSIGNED


def _order(change: api.AssignmentChange, needed: Collection[Reference]) -> int:
    kind = change.assignment.WhichOneof("item") or ""
    if change.action == api.AssignmentChange.REMOVE:
        return 3
    if kind == "task":
        return 2
    return 0 if (kind, getattr(change.assignment, kind).id) in needed else 1
