"""Makes the files of a task's secrets and configs: rendered if they are templates, each at its target. Pure.

In: a task, its container's spec with placeholders filled in, and the secrets and configs that were assigned to it. Out:
`SecretFile`s, or a ShoalError whose text becomes the task's error. Source of the rules and texts: moby
daemon/container_operations_unix.go (setupSecretDir), SwarmKit template/{context,expand,getter}.go.
"""

import posixpath
import re
from dataclasses import dataclass, field

from shoal.agent.executor import template_values
from shoal.agent.templates import Function, expand
from shoal.agent.templates.values import Struct, decoded, encoded
from shoal.agent.worker import Dependencies
from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, Unavailable
from shoal.runtime.types import SecretFile

SECRETS_FOLDER, CONFIGS_FOLDER = "/run/secrets", "/"
LAST_ID = 2**32 - 2  # the kernel's -1 means "leave the owner as it is"

_NUMBER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
# The beginning of the errors of templates, up to the line and column. What follows may quote the template.
_WHERE = re.compile(r"template: \w+(?::\d+){1,2}", re.ASCII)
_HIDDEN = "what is wrong there is not shown, because it may tell a part of a secret"


@dataclass(frozen=True, slots=True)
class Given:
    """What was assigned to one task, as it is now: its secrets and configs by id."""

    secrets: dict[str, api.Secret] = field(repr=False)
    configs: dict[str, api.Config] = field(repr=False)


def has_files(task: api.Task) -> bool:
    """Return whether a task's container needs any secret or config as a file."""
    container = task.spec.container
    return any(each.HasField("file") for each in (*container.secrets, *container.configs))


def collect(task: api.Task, dependencies: Dependencies) -> Given:
    """Return what a task's spec names.

    Raises NotFound in Docker's words for what was not assigned; Unavailable while no manager has told this node what
    is assigned to it, for instance after a restart.
    """
    container = task.spec.container
    try:
        secrets = {each.secret_id: dependencies.secret(task, each.secret_id) for each in container.secrets}
    except NotFound as error:
        raise _missing("secret", dependencies, error) from error
    try:
        configs = {each.config_id: dependencies.config(task, each.config_id) for each in container.configs}
    except NotFound as error:
        raise _missing("config", dependencies, error) from error
    return Given(secrets, configs)


def files(task: api.Task, spec: api.ContainerSpec, node: api.NodeDescription, given: Given) -> tuple[SecretFile, ...]:
    """Return the files of a task's container. Raises InvalidArgument for a template or a target that is wrong."""
    made = []
    for secret in spec.secrets:
        if secret.HasField("file"):
            data = _rendered("secret", given.secrets[secret.secret_id], task, spec, node, given)
            made.append(_file(SECRETS_FOLDER, secret.file, data))
    for config in spec.configs:
        # One for the runtime is a credential spec of Windows: it is no file.
        if config.HasField("file"):
            data = _rendered("config", given.configs[config.config_id], task, spec, node, given)
            made.append(_file(CONFIGS_FOLDER, config.file, data))
    return tuple(made)


def _missing(kind: str, dependencies: Dependencies, error: NotFound) -> NotFound | Unavailable:
    if not dependencies.told:
        return Unavailable(f"waiting for a manager: this node keeps no {kind} on its disk, and has to ask for it again")
    return NotFound(f"unable to get {kind} from {kind} store: {error}")


class _Context:
    """The functions of one template, and whether it has read a secret."""

    def __init__(self, spec: api.ContainerSpec, given: Given) -> None:
        self._spec = spec
        self._given = given
        self.is_sensitive = False

    def functions(self) -> dict[str, Function]:
        return {"secret": self.secret, "config": self.config, "env": self.env}

    def secret(self, target: str) -> str:
        """Return the data of the secret with this target, as it is: a template in it is not rendered."""
        for each in self._spec.secrets:
            if each.HasField("file") and each.file.name == target:
                self.is_sensitive = True
                return decoded(self._given.secrets[each.secret_id].spec.data)
        raise InvalidArgument(f"secret target {target} not found")

    def config(self, target: str) -> str:
        """Return the data of the config with this target, as it is."""
        for each in self._spec.configs:
            if each.HasField("file") and each.file.name == target:
                return decoded(self._given.configs[each.config_id].spec.data)
        raise InvalidArgument(f"config target {target} not found")

    def env(self, variable: str) -> str:
        """Return the value of a variable of the service; empty if it has none of this name."""
        for each in self._spec.env:
            name, equals, value = each.partition("=")
            if equals and name == variable:
                return value
        return ""


def _rendered(
    kind: str,
    owner: api.Secret | api.Config,
    task: api.Task,
    spec: api.ContainerSpec,
    node: api.NodeDescription,
    given: Given,
) -> bytes:
    if not owner.spec.HasField("templating"):
        return owner.spec.data
    failed = f"unable to get {kind} from {kind} store: failed to expand templated {kind} {owner.id}"
    if owner.spec.templating.name != "golang":
        raise InvalidArgument(f"{failed}: unrecognized template type")
    context = _Context(spec, given)
    values: Struct = template_values(task, node)
    try:
        return encoded(expand(decoded(owner.spec.data), values, context.functions()))
    except InvalidArgument as error:
        said = encoded(str(error)).decode(errors="replace")
        if kind == "secret" or context.is_sensitive:
            # The error goes to the managers, into logs and to everybody who may list tasks.
            where = _WHERE.match(said)
            said = f"{where[0] if where else 'template'}: {_HIDDEN}"
        # Not `from error`: a traceback would show it.
        raise InvalidArgument(f"{failed}: {said}") from None


def _file(folder: str, target: api.FileTarget, data: bytes) -> SecretFile:
    path = posixpath.normpath(posixpath.join("/", folder, target.name))
    path = "/" + path.lstrip("/")  # normpath keeps two slashes at the beginning
    if path == "/" or "\0" in path:
        raise InvalidArgument(f"invalid target file name: {target.name!r}")
    return SecretFile(path, data, _id(target.uid), _id(target.gid), target.mode & 0o777)


def _id(text: str) -> int:
    if text and not _NUMBER.fullmatch(text):
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text or "0")
    if not 0 <= number <= LAST_ID:
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": value out of range')
    return number
