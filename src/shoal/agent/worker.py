"""Reads messages of assignments. Pure.

In: a message and the ids of the tasks on this node; out: which tasks to start, update and remove. Owns the secrets and
configs that these tasks may use. Source of the rules: SwarmKit agent/worker.go.
"""

from collections.abc import Collection
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.errors import NotFound


@dataclass(frozen=True, slots=True)
class Changes:
    """The tasks that a message starts or updates, and the ids of the tasks that it removes."""

    put: tuple[api.Task, ...] = ()
    remove: tuple[str, ...] = ()


class Dependencies:
    """The secrets and configs assigned to this node. They are kept only in memory."""

    def __init__(self) -> None:
        self.told = False
        """Whether a manager has told all of them since this node's daemon started."""
        self._secrets: dict[str, api.Secret] = {}
        self._configs: dict[str, api.Config] = {}

    def apply(self, message: api.AssignmentsMessage) -> None:
        """Take in a message. A complete one replaces everything; an increment changes only what it names."""
        if message.type == api.AssignmentsMessage.COMPLETE:
            self._secrets.clear()
            self._configs.clear()
            self.told = True
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
        """Return a secret for a task; a copy made for this task alone goes before the shared one.

        Raises NotFound for a secret that the task's spec does not name, or that was not assigned.
        """
        if all(reference.secret_id != secret_id for reference in task.spec.container.secrets):
            raise NotFound(f"task not authorized to access secret {secret_id}")
        found = self._secrets.get(f"{secret_id}.{task.id}") or self._secrets.get(secret_id)
        if found is None:
            raise NotFound(f"secret {secret_id} not found")
        return found

    def config(self, task: api.Task, config_id: str) -> api.Config:
        """Return a config for a task. Raises NotFound for one that its spec does not name, or that was not assigned."""
        if all(reference.config_id != config_id for reference in task.spec.container.configs):
            raise NotFound(f"task not authorized to access config {config_id}")
        found = self._configs.get(config_id)
        if found is None:
            raise NotFound(f"config {config_id} not found")
        return found


def changes(message: api.AssignmentsMessage, present: Collection[str]) -> Changes:
    """Return what a message changes on a node that has the tasks `present`.

    A complete message removes every task that it does not name.
    """
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
    # The order inside a message has no meaning: a task that is both updated and removed is removed.
    return Changes(
        tuple(task for task_id, task in put.items() if task_id not in removed),
        tuple(task_id for task_id in removed if task_id in present),
    )


def follows(message: api.AssignmentsMessage, applied: str) -> bool:
    """Return whether a message follows the last applied one (`applied`, its `results_in`) with none lost between."""
    return message.type == api.AssignmentsMessage.COMPLETE or message.applies_to == applied
