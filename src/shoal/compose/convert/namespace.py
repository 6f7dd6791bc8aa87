"""The labels and names of what belongs to a stack, and the limits of names, checked before anything is made."""

import re

from shoal.compose.errors import ComposeError, Place
from shoal.compose.project import Project

STACK, IMAGE = "com.docker.stack.namespace", "com.docker.stack.image"
LONGEST_SERVICE = 63
LONGEST_CONTENT = 64
_SERVICE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-_]*[a-zA-Z0-9])?\Z")
_CONTENT = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?\Z")


def labelled(stack: str, labels: object) -> dict[str, str]:
    """Return labels with the stack's own."""
    return {**(labels if isinstance(labels, dict) else {}), STACK: stack}


def scoped(stack: str, name: str) -> str:
    """Return what a service of a stack is called."""
    return f"{stack}_{name}"


def check_names(project: Project) -> None:
    """Raise ComposeError for the first name that Swarm would refuse, before anything is made."""
    for key, service in project.services.items():
        name = scoped(project.name, key)
        _check(name, LONGEST_SERVICE, _SERVICE, "service", service.named_at, f"services.{key}")
    for key, each in project.networks.items():
        if not each.find("external"):
            at = each.entries["name"].named_at
            _check(str(each.find("name")), LONGEST_SERVICE, _SERVICE, "network", at, f"networks.{key}")
    for section, word in (("secrets", "secret"), ("configs", "config")):
        for key, each in getattr(project, section).items():
            name = str(each.find("name"))
            _check(name, LONGEST_CONTENT, _CONTENT, word, each.entries["name"].named_at, f"{section}.{key}")


def _check(name: str, longest: int, pattern: re.Pattern[str], word: str, place: Place, key: str) -> None:
    if len(name) > longest:
        text = f"the {word} would be called {name}, which has {len(name)} letters, and may have {longest}"
        raise ComposeError(place, key, text)
    if not pattern.match(name):
        text = f"the {word} would be called {name}: letters, digits, `-` and `_`, first and last a letter or digit"
        raise ComposeError(place, key, text)
