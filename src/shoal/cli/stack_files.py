"""The project that compose files on this host make."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shoal.cli.errors import CommandError
from shoal.cli.local_files import LocalFiles
from shoal.compose import reading
from shoal.compose.errors import ComposeError, Warned
from shoal.compose.loading import load
from shoal.compose.names import stack_name_trouble
from shoal.compose.project import STDIN, Project, Settings

DEFAULTS = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def stack_name(name: str) -> str:
    """Return a stack's name. Raises CommandError for one that no stack may have, before anything is asked."""
    trouble = stack_name_trouble(name)
    if trouble:
        raise CommandError(trouble)
    return name


def read_project(
    files: Sequence[str] | None,
    name: str = "",
    env_files: Sequence[str] | None = None,
    profiles: Sequence[str] | None = None,
    *,
    interpolate: bool = True,
) -> Project:
    """Return the project of compose files. Raises CommandError, with the file, line and key."""
    files = list(files or _default())
    stdin = sys.stdin.buffer.read(reading.MAX_BYTES + 1) if STDIN in files else b""
    settings = Settings(
        files=files,
        environment=dict(os.environ),
        here=str(Path.cwd()),
        home=os.environ.get("HOME") or "/",
        name=name,
        stdin=stdin,
        env_files=env_files or (),
        profiles=profiles or (),
        interpolate=interpolate,
    )
    try:
        return load(settings, LocalFiles())
    except ComposeError as error:
        raise CommandError(str(error)) from error


def _default() -> list[str]:
    found = next((name for name in DEFAULTS if Path(name).is_file()), None)
    if found is None:
        raise CommandError(f"there is no {DEFAULTS[0]} here: name a compose file with -c")
    more = [name.replace(".y", ".override.y") for name in (found,)]
    return [found, *(name for name in more if Path(name).is_file())]


def warn(warnings: Sequence[Warned]) -> None:
    """Print warnings on standard error."""
    for each in warnings:
        sys.stderr.write(f"shoal: {each}\n")
