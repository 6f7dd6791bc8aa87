"""The last steps from merged files to a project: profiles, networks, variables in files, names, and what must fit."""

from collections import ChainMap
from collections.abc import Mapping, Sequence

from shoal.compose import checks, dotenv
from shoal.compose.errors import ComposeError, Warned
from shoal.compose.limits import Limits
from shoal.compose.names import project_name
from shoal.compose.node import Node, node
from shoal.compose.project import SECTIONS, Project, Settings

DEFAULT = "default"


def finished(
    model: Node,
    settings: Settings,
    folder: str,
    variables: Mapping[str, str],
    limits: Limits,
    warnings: Sequence[Warned],
) -> Project:
    """Return the project of a merged model. Raises ComposeError."""
    name = project_name(settings.name, model.get("name"), folder)
    services = dict((model.get("services") or Node({}, model.place)).entries)
    services = {key: each if isinstance(each.value, dict) else each.made({}) for key, each in services.items()}
    profiles = {*settings.profiles, *variables.get("COMPOSE_PROFILES", "").split(",")}
    active = {key: each for key, each in services.items() if is_active(each, profiles)}
    sections = {key: dict((model.get(key) or Node({}, model.place)).entries) for key in SECTIONS}
    connected = {key: with_networks(each) for key, each in active.items()}
    if any(DEFAULT in (each.get("networks") or each).entries for each in connected.values()):
        sections["networks"].setdefault(DEFAULT, Node(None, model.place))
    whole = {key: _with_environment(key, each, variables, limits) for key, each in connected.items()}
    whole = {key: _with_labels(key, each, limits) for key, each in whole.items()}
    project = Project(
        name=name,
        services=whole,
        networks=_named(name, sections["networks"]),
        volumes=_named(name, sections["volumes"]),
        secrets=_named(name, sections["secrets"]),
        configs=_named(name, sections["configs"]),
        extensions={key: each for key, each in model.entries.items() if key.startswith("x-")},
        environment=variables,
        disabled={key: each for key, each in services.items() if key not in active},
        warnings=warnings,
    )
    checks.check(project)
    return project


def is_active(service: Node, profiles: set[str]) -> bool:
    """Return whether a service is in no profile, or in one that is active."""
    own = set(service.find("profiles") or ())
    return not own or bool(own & profiles) or "*" in profiles


def with_networks(service: Node) -> Node:
    """Return a service that says which networks it is on: the default one where it says nothing."""
    networks = service.get("networks")
    if service.get("network_mode") is not None or service.get("provider") is not None:
        return service
    if networks is not None and networks.entries:
        return service
    return service.made({**service.entries, "networks": node({DEFAULT: None}, service.place)})


def _named(project: str, section: Mapping[str, Node]) -> dict[str, Node]:
    """Return what a section describes, each with the name that it has outside of the file."""
    found = {}
    for key, each in section.items():
        entries = each.entries
        if not entries.get("name") or entries["name"].value is None:
            name = key if each.find("external") else f"{project}_{key}"
            entries = {"name": Node(name, each.named_at), **entries}
        found[key] = each.made(entries)
    return found


def _with_environment(name: str, service: Node, variables: Mapping[str, str], limits: Limits) -> Node:
    """Return a service with the variables of its files; its own count more."""
    own = service.get("environment")
    named = service.get("env_file")
    entries = dict(service.entries)
    mine = {
        key: each.made(variables[key]) if each.value is None and key in variables else each
        for key, each in (own.entries if own is not None else {}).items()
    }
    if named is not None:
        known = {key: each.value for key, each in mine.items() if each.value is not None}
        found: dict[str, str] = {}
        for number, each in enumerate(named.items):
            key = f"services.{name}.env_file[{number}]"
            found = _env_file(each, key, ChainMap(dict(variables), known), found, limits)
        limits.count(len(found), named.place, f"services.{name}.env_file")
        mine = {variable: Node(value, named.place) for variable, value in found.items()} | mine
        del entries["env_file"]
    if mine:
        entries["environment"] = Node(mine, (own or named or service).place)
    return service.made(entries)


def _env_file(
    each: Node, key: str, surroundings: Mapping[str, str], earlier: dict[str, str], limits: Limits
) -> dict[str, str]:
    """Return the variables of a file, with those of earlier ones."""
    path = str(each.find("path"))
    form = each.find("format")
    if form not in (None, "raw"):
        raise ComposeError(each.entries["format"].place, f"{key}.format", f"is {form!r}, and can only be raw")
    try:
        content = limits.content(path, dotenv.MAX_BYTES, each.get("path"), key)
    except ComposeError as error:
        if not each.find("required") and isinstance(error.__cause__, FileNotFoundError):
            return earlier
        raise
    if form == "raw":
        return earlier | dotenv.raw(content, path)
    return dotenv.parse(content, path, surroundings, earlier)


def _with_labels(name: str, service: Node, limits: Limits) -> Node:
    """Return a service with the labels of its files; its own count more."""
    named = service.get("label_file")
    if named is None:
        return service
    found: dict[str, Node] = {}
    for number, each in enumerate(named.items):
        content = limits.content(each.value, dotenv.MAX_BYTES, each, f"services.{name}.label_file[{number}]")
        known = {key: label.value for key, label in found.items()}
        found |= {key: Node(value, each.place) for key, value in dotenv.parse(content, each.value, known).items()}
    own = service.get("labels")
    entries = {key: each for key, each in service.entries.items() if key != "label_file"}
    entries["labels"] = Node(found | (own.entries if own is not None else {}), (own or named).place)
    return service.made(entries)
