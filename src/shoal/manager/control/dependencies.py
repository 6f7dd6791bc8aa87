"""Secrets and configs that services name: which of them are missing, and which are in use. Pure.

Source of the checks and texts: SwarmKit manager/controlapi/{service,secret,config}.go. Docker takes an object for
unused as soon as no service's present spec names it. Here it also counts as used while a rollback would need it, and
while a task that names it runs or is about to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from shoal.api import v1 as api
from shoal.api.states import is_live
from shoal.errors import InvalidArgument

if TYPE_CHECKING:
    from shoal.store.memory import View

Kind = Literal["secret", "config"]


def check_references(view: View, spec: api.ServiceSpec) -> None:
    """Raise InvalidArgument, in Docker's words, if a secret or config that a spec names does not exist."""
    container = spec.task.container
    _refuse_missing(
        "secret",
        [one.secret_name for one in container.secrets if not _is(view.secrets.get(one.secret_id), one.secret_name)],
    )
    _refuse_missing(
        "config",
        [one.config_name for one in container.configs if not _is(view.configs.get(one.config_id), one.config_name)],
    )


def check_is_unused(view: View, kind: Kind, found: api.Secret | api.Config) -> None:
    """Raise InvalidArgument, in Docker's words, if a service uses this secret or config."""
    names = _names_secret(found.id) if kind == "secret" else _names_config(found.id)
    now, before, running = [], [], []
    for service in view.services.all():
        name = service.spec.annotations.name
        if names(service.spec.task):
            now.append(name)
        elif service.HasField("previous_spec") and names(service.previous_spec.task):
            before.append(name)
    for task in view.tasks.all():
        # A removed service's tasks do not count: `docker stack rm` removes the secrets right after the services.
        if task.service_id and is_live(task) and names(task.spec):
            owner = view.services.get(task.service_id)
            if owner is not None:
                running.append(owner.spec.annotations.name)
    running = sorted({*running} - {*now, *before})
    users = sorted([*now, *before, *running])
    if not users:
        return
    why = ""
    if before:
        why += f"; a rollback of {', '.join(sorted(before))} would need it"
    if running:
        why += f"; tasks of {', '.join(running)} still run with it"
    services = "services" if len(users) > 1 else "service"
    raise InvalidArgument(
        f"{kind} '{found.spec.annotations.name}' is in use by the following {services}: {', '.join(users)}{why}"
    )


def _refuse_missing(kind: Kind, missing: Iterable[str]) -> None:
    names = list(missing)
    if names:
        raise InvalidArgument(f"{kind}{'s' if len(names) > 1 else ''} not found: {', '.join(names)}")


def _is(found: api.Secret | api.Config | None, name: str) -> bool:
    return found is not None and found.spec.annotations.name == name


def _names_secret(secret_id: str) -> Callable[[api.TaskSpec], bool]:
    kind = api.ResourceType.SECRET

    def names(spec: api.TaskSpec) -> bool:
        return any(one.secret_id == secret_id for one in spec.container.secrets) or _refers(spec, kind, secret_id)

    return names


def _names_config(config_id: str) -> Callable[[api.TaskSpec], bool]:
    kind = api.ResourceType.CONFIG

    def names(spec: api.TaskSpec) -> bool:
        return any(one.config_id == config_id for one in spec.container.configs) or _refers(spec, kind, config_id)

    return names


def _refers(spec: api.TaskSpec, kind: api.ResourceType, object_id: str) -> bool:
    return any(one.resource_type == kind and one.resource_id == object_id for one in spec.resource_references)
