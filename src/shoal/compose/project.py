"""A project: everything that some compose files say together, in canonical form; and what it is loaded with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shoal.compose.errors import Warned
from shoal.compose.node import Node, plain

STDIN = "-"
SECTIONS = ("networks", "volumes", "secrets", "configs")


class Files(Protocol):
    """Whoever reads files for the loader."""

    def read(self, path: str, longest_bytes: int) -> bytes:
        """Return a file's content, one byte more than `longest_bytes` if it has more. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project is loaded with.

    `files` are compose files, the first of which says what paths are relative to, unless `folder` does; a `-` is
    `stdin`.
    `env_files` stand in the place of `.env` in that folder. `environment` counts more than either.
    """

    files: Sequence[str]
    environment: Mapping[str, str]
    here: str
    home: str
    name: str = ""
    stdin: bytes = b""
    folder: str = ""
    env_files: Sequence[str] = ()
    profiles: Sequence[str] = ()
    interpolate: bool = True


@dataclass(frozen=True, slots=True)
class Project:
    """What compose files say together. The nodes are canonical; services have their networks and whole environment."""

    name: str
    services: Mapping[str, Node]
    networks: Mapping[str, Node]
    volumes: Mapping[str, Node]
    secrets: Mapping[str, Node]
    configs: Mapping[str, Node]
    extensions: Mapping[str, Node]
    environment: Mapping[str, str]
    disabled: Mapping[str, Node] = field(default_factory=dict)  # services of profiles that are not active
    warnings: Sequence[Warned] = ()

    def canonical(self) -> dict[str, Any]:
        """Return the project as `docker compose config --format json` prints it."""
        shown: dict[str, Any] = {"name": self.name}
        for section in ("services", *SECTIONS):
            found = {key: plain(each) for key, each in sorted(getattr(self, section).items())}
            if found:
                shown[section] = found
        return shown | {key: plain(each) for key, each in self.extensions.items()}
