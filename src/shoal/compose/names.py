"""The name of a stack, and names of what it makes: Swarm's limits are checked before anything is made."""

import posixpath
import re

from shoal.compose.errors import ComposeError, Place
from shoal.compose.node import Node

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
_STACK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
LONGEST_STACK = 63


def project_name(given: str, written: Node | None, folder: str) -> str:
    """Return the project's name: the given one, the file's, or the folder's. Raises ComposeError."""
    if given:
        return given
    if written is not None and written.value:
        return _normal(str(written.value)) or _refused(written.place, str(written.value))
    return _normal(posixpath.basename(folder)) or _refused(Place(folder), posixpath.basename(folder))


def _normal(name: str) -> str:
    return "".join(re.findall("[a-z0-9_-]", name.lower())).lstrip("_-")


def _refused(place: Place, name: str) -> str:
    raise ComposeError(place, "name", f"{name!r} is no name of a project: begin with a letter or digit")


def stack_name_trouble(name: str) -> str | None:
    """Return why a text is no name of a stack, or None. Docker takes every name that is not blank or quoted."""
    if not name.strip():
        return "a stack must have a name"
    if len(name) > LONGEST_STACK:
        return f"{name[:20]}… has {len(name)} letters, and a stack's name may have {LONGEST_STACK}"
    if not _STACK.match(name):
        return f"{name!r} is no name of a stack: letters, digits, `.`, `_` and `-`, the first a letter or digit"
    return None
