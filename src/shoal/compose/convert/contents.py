"""Secrets and configs of a stack: what they hold, and how services name them, as the Engine API takes it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoal.compose.convert.namespace import labelled
from shoal.compose.errors import ComposeError
from shoal.compose.limits import Limits
from shoal.compose.node import Node
from shoal.compose.project import Project

LONGEST = {"secrets": 500 * 1024 - 1, "configs": 1000 * 1024 - 1}  # bytes; the daemon refuses more
RUN_SECRETS = "/run/secrets/"


@dataclass(frozen=True, slots=True)
class Content:
    """A secret or config that a stack has: its key in the file, its name in the swarm, and how to make it.

    `data` is None for one that is there already, or that a driver holds.
    """

    section: str
    key: str
    name: str
    external: bool
    place: Node = field(repr=False, compare=False)
    spec: Mapping[str, Any] = field(repr=False)
    data: bytes | None = field(repr=False)


def contents(section: str, project: Project, limits: Limits) -> list[Content]:
    """Return all secrets, or configs, of a project. Raises ComposeError for what cannot be read or is too large."""
    return [_content(section, key, each, project, limits) for key, each in sorted(getattr(project, section).items())]


def _content(section: str, key: str, each: Node, project: Project, limits: Limits) -> Content:
    name = str(each.find("name"))
    if each.find("external"):
        return Content(section, key, name, True, each, {}, None)
    spec: dict[str, Any] = {"Name": name, "Labels": labelled(project.name, each.find("labels"))}
    if (template := each.find("template_driver")) is not None:
        spec["Templating"] = {"Name": template}
    driver = each.find("driver")
    if driver:
        spec["Driver"] = {"Name": driver, "Options": each.find("driver_opts") or {}}
        return Content(section, key, name, False, each, spec, None)
    data = _data(section, f"{section}.{key}", each, project, limits)
    return Content(section, key, name, False, each, {**spec, "Data": base64.b64encode(data).decode()}, data)


def _data(section: str, key: str, each: Node, project: Project, limits: Limits) -> bytes:
    longest = LONGEST[section]
    if (file := each.get("file")) is not None:
        data, at = limits.content(file.value, longest, file, f"{key}.file"), file
    elif (inline := each.get("content")) is not None:
        data, at = str(inline.value).encode(), inline
    elif (variable := each.get("environment")) is not None:
        value = project.environment.get(variable.value)
        if value is None:
            raise ComposeError(variable.place, f"{key}.environment", f"the variable {variable.value} is not set")
        data, at = value.encode(errors="surrogateescape"), variable
    else:
        raise ComposeError(each.place, key, "says nothing of its content")
    word = section.removesuffix("s")
    if not data:
        raise ComposeError(at.place, key, f"the {word} is empty, and must not be")
    if len(data) > longest:
        raise ComposeError(at.place, key, f"the {word} has {len(data):,} bytes, and may have {longest:,}")
    return data


def references(section: str, name: str, service: Node, found: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the secrets, or configs, that a service names. `found` has each one's name and id in the swarm, by key."""
    word = "Secret" if section == "secrets" else "Config"
    made = []
    for each in (service.get(section) or Node([], service.place)).items:
        source = str(each.find("source"))
        target = str(each.find("target") or source)
        if section == "secrets" and target == RUN_SECRETS + source:
            target = source
        file = {
            "Name": target,
            "UID": each.find("uid") or "0",
            "GID": each.find("gid") or "0",
            "Mode": int(each.find("mode") or "0444", 8),
        }
        of, identity = found[source]
        made.append({"File": file, f"{word}ID": identity, f"{word}Name": of})
    credential = service.find("credential_spec", "config") if section == "configs" else None
    if credential is not None:
        of, identity = found[credential]
        made.append({"Runtime": {}, "ConfigID": identity, "ConfigName": of})
    return sorted(made, key=lambda one: str(one[f"{word}Name"]))
