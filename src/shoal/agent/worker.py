"""What a message of assignments means for this node. Pure.

In: the tasks that are here and a message; out: which tasks to start, update and remove. Owns the secrets and configs
that the tasks here may use. Source of the rules: SwarmKit agent/worker.go.
"""

from collections.abc import Collection
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.errors import NotFound


@dataclass(frozen=True, slots=True)
class Changes:
    """What a message asks for: tasks to take in or update, and ids of tasks to remove with all that they left."""

    put: tuple[api.Task, ...] = ()
    remove: tuple[str, ...] = ()


class Dependencies:
    """The secrets and configs assigned to this node. Only in memory."""

    def __init__(self) -> None:
        self._secrets: dict[str, api.Secret] = {}
        self._configs: dict[str, api.Config] = {}

    def apply(self, message: api.AssignmentsMessage) -> None:
        """Take in a message: a complete one replaces everything, an increment changes what it names."""
        if message.type == api.AssignmentsMessage.COMPLETE:
            self._secrets.clear()
            self._configs.clear()
        for change in message.changes:
            kind = change.assignment.WhichOneof("item")
            gone = change.action == api.AssignmentChange.REMOVE
            if kind == "secret":
                secret = change.assignment.secret
                if gone:
                    self._secrets.pop(secret.id, None)
                else:
                    self._secrets[secret.id] = secret
            elif kind == "config":
                config = change.assignment.config
                if gone:
                    self._configs.pop(config.id, None)
                else:
                    self._configs[config.id] = config

    def secret(self, task: api.Task, secret_id: str) -> api.Secret:
        """Return a secret for a task, its own copy first; raise NotFound for one that its spec does not name."""
        if all(reference.secret_id != secret_id for reference in task.spec.container.secrets):
            raise NotFound(f"task not authorized to access secret {secret_id}")
        found = self._secrets.get(f"{secret_id}.{task.id}") or self._secrets.get(secret_id)
        if found is None:
            raise NotFound(f"secret {secret_id} not found")
        return found

    def config(self, task: api.Task, config_id: str) -> api.Config:
        """Return a config for a task; raise NotFound for one that its spec does not name."""
        if all(reference.config_id != config_id for reference in task.spec.container.configs):
            raise NotFound(f"task not authorized to access config {config_id}")
        found = self._configs.get(config_id)
        if found is None:
            raise NotFound(f"config {config_id} not found")
        return found


def changes(message: api.AssignmentsMessage, present: Collection[str]) -> Changes:
    """Return what a message asks of a node that has these tasks; a complete one removes what it does not name."""
    put: dict[str, api.Task] = {}
    removed: dict[str, None] = {}
    for change in message.changes:
        if change.assignment.WhichOneof("item") != "task":
            continue
        task = change.assignment.task
        if change.action == api.AssignmentChange.REMOVE:
            removed[task.id] = None
        else:
            put[task.id] = task
    if message.type == api.AssignmentsMessage.COMPLETE:
        removed = dict.fromkeys(task_id for task_id in present if task_id not in put)
    # The order inside a message means nothing; a task that is both updated and removed is gone.
    return Changes(
        tuple(task for task_id, task in put.items() if task_id not in removed),
        tuple(task_id for task_id in removed if task_id in present),
    )


def follows(message: api.AssignmentsMessage, applied: str) -> bool:
    """Return whether a message builds on the last one that was applied. One that does not is applied all the same."""
    return message.type == api.AssignmentsMessage.COMPLETE or message.applies_to == applied
