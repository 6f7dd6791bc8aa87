"""What the commands of `shoal stack` do, from their flags to what they print."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import yaml

from shoal.cli import rendering, stack_deploy, stack_listing, stack_waiting
from shoal.cli.errors import CommandError, Refused
from shoal.cli.hosts import Target
from shoal.cli.local_files import LocalFiles
from shoal.cli.rendering import Format, How, Listing
from shoal.cli.stack_api import StackApi, identity_of, name_of
from shoal.cli.stack_contents import would_be
from shoal.cli.stack_deploy import How as DeployHow
from shoal.cli.stack_diff import Change, changes
from shoal.cli.stack_files import read_project, stack_name, warn
from shoal.cli.stack_images import settle_image
from shoal.cli.stack_options import Resolve
from shoal.cli.stack_plan import Plan, plan
from shoal.compose.convert.namespace import STACK
from shoal.compose.errors import ComposeError
from shoal.compose.project import Project

REMOVAL_PATIENCE, POLL = 600.0, 0.3  # seconds
_INTERRUPTED = 130  # the exit code of what SIGINT ends
_KINDS = ("services", "secrets", "configs", "networks")  # in the order in which they can be removed
_RUNNING = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")

Names = Sequence[str] | None

__all__ = ["DeployHow"]


class _Plain(yaml.CSafeDumper):
    """YAML without anchors, which would make of equal values the same one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def show_config(files: Names, env_files: Names, profiles: Names, form: Format, *, interpolate: bool) -> None:
    """Print the project of compose files."""
    project = read_project(files, "", env_files, profiles, interpolate=interpolate)
    warn(_planned(project).warnings if interpolate else project.warnings)
    shown = project.canonical()
    if form is Format.JSON:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    else:
        written = _doubled(shown) if interpolate else shown
        sys.stdout.write(yaml.dump(written, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000))


def _doubled(value: Any) -> Any:
    """Return a value with each dollar written twice, so that what is printed can be read again."""
    if isinstance(value, dict):
        return {key: _doubled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_doubled(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def project_of(name: str, files: Names, env_files: Names, profiles: Names) -> Project:
    """Return the project that a stack is to be. Raises CommandError."""
    return read_project(files, stack_name(name), env_files, profiles)


def _planned(project: Project) -> Plan:
    try:
        return plan(project, LocalFiles())
    except ComposeError as error:
        raise CommandError(str(error)) from error


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _warn(text: str) -> None:
    sys.stderr.write(f"shoal: {text}\n")


def _quiet(text: str) -> None:
    del text


def deploy(target: Target, project: Project, how: DeployHow, *, strict: bool, detach: bool, quiet: bool) -> None:
    """Deploy a stack, and wait until it runs unless `detach`. Raises CommandError."""
    made = _planned(project)
    warn(made.warnings)
    if strict and len(made.warnings) > len(project.warnings):
        raise CommandError("keys that Swarm has nothing for are named above: nothing was deployed")
    api, say = StackApi(target), _quiet if quiet else _say
    done = stack_deploy.deploy(api, made, how, say, _warn)
    if not detach:
        try:
            stack_waiting.wait(api, project.name, done.services, stack_waiting.shower(quiet))
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                sys.stderr.write("\n")  # after the terminal's ^C
            _warn(f"the deploy goes on without this command: shoal stack ps {project.name} shows how far it is")
            sys.exit(_INTERRUPTED)
        stack_deploy.tidy(api, done, project.name, say, prune=how.prune)


def show_diff(target: Target, project: Project, resolve: Resolve, form: Format, *, prune: bool) -> bool:
    """Print what a deploy would change. Return whether it would change anything."""
    made = _planned(project)
    warn(made.warnings)
    found = _changes(StackApi(target), made, resolve, prune=prune)
    if form is Format.JSON:
        rows = [{"Object": each.subject, "Field": each.field, "Now": each.now, "Then": each.then} for each in found]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        sys.stdout.write("".join(_line(each) + "\n" for each in found))
    return bool(found)


def _changes(api: StackApi, made: Plan, resolve: Resolve, *, prune: bool) -> list[Change]:
    stack = made.project.name
    networks = {name_of(each) for each in api.of_stack("networks", stack)}
    found = [Change(f"network {name}", "", None, "there") for name in made.networks if name not in networks]
    names = {}
    for section in made.contents:
        names[section], new = would_be(api, made, section)
        found += [Change(f"{section.removesuffix('s')} {name}", "", None, "there") for name in new]
    there = {name_of(each): each for each in api.of_stack("services", stack)}
    specs = made.services(names)
    for spec in specs.values():
        present = there.get(spec["Name"])
        settle_image(api, spec, present, resolve, {})
        now = _with_names(api, present["Spec"]) if present is not None else None
        if now is not None:
            spec["TaskTemplate"]["ForceUpdate"] = now["TaskTemplate"].get("ForceUpdate", 0)
        found += changes(f"service {spec['Name']}", now, spec)
    wanted = {spec["Name"] for spec in specs.values()}
    if prune:
        found += [Change(f"service {name}", "", "there", None) for name in there if name not in wanted]
    return found


def _with_names(api: StackApi, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with the names of networks for their ids, which the swarm keeps."""
    names = {identity_of(each): name_of(each) for each in api.json.many("/networks")}
    task = spec["TaskTemplate"]
    networks = [{**each, "Target": names.get(each["Target"], each["Target"])} for each in task.get("Networks") or ()]
    return {**spec, "TaskTemplate": {**task, "Networks": sorted(networks, key=lambda each: str(each["Target"]))}}


def _line(each: Change) -> str:
    if not each.field:
        return f"{'+' if each.now is None else '-'} {each.subject}"
    return f"~ {each.subject}: {each.field}: {json.dumps(each.now)} -> {json.dumps(each.then)}"


def list_stacks(target: Target, how: How) -> None:
    """Print the stacks of the swarm."""
    rows = stack_listing.stack_rows(StackApi(target).all_services())
    rendering.render(Listing(stack_listing.STACKS, rows), how)


def list_services(target: Target, name: str, how: How) -> None:
    """Print the services of a stack."""
    found = StackApi(target).json.many("/services", {"label": [f"{STACK}={stack_name(name)}"]}, {"status": "true"})
    _check_there(found, name)
    rendering.render(Listing(stack_listing.SERVICES, stack_listing.service_rows(found)), how)


def list_tasks(target: Target, name: str, how: How) -> None:
    """Print the tasks of a stack."""
    api = StackApi(target)
    tasks = api.tasks(stack_name(name))
    _check_there(tasks, name)
    rows = stack_listing.task_rows(tasks, api.of_stack("services", name), api.json.many("/nodes"))
    rendering.render(Listing(stack_listing.TASKS, rows), how)


def _check_there(found: Sequence[Any], name: str) -> None:
    if not found:
        raise CommandError(f"nothing is there of stack {name}")


def remove(target: Target, names: Sequence[str], *, detach: bool) -> None:
    """Remove stacks, and wait until their tasks have ended unless `detach`. Raises CommandError."""
    for name in names:
        stack_name(name)
    api = StackApi(target)
    failed = [name for name in names if not _removed(api, name)]
    if failed:
        raise CommandError(f"not all was removed of {', '.join(failed)}: see above")
    if not detach:
        for name in names:
            _wait_gone(api, name)


def _removed(api: StackApi, name: str) -> bool:
    found = [(kind, each) for kind in _KINDS for each in api.of_stack(kind, name)]
    if not found:
        _warn(f"nothing is there of stack {name}")
    whole = True
    for kind, each in found:
        word = kind.removesuffix("s")
        _say(f"Removing {word} {name_of(each)}")
        try:
            api.remove(kind, identity_of(each))
        except Refused as error:
            _warn(f"{word} {name_of(each)}: {error}")
            whole = False
    return whole


def _wait_gone(api: StackApi, name: str) -> None:
    until = time.monotonic() + REMOVAL_PATIENCE
    while any((each.get("Status") or {}).get("State") in _RUNNING for each in api.tasks(name)):
        if time.monotonic() > until:
            raise CommandError(f"tasks of {name} still run: shoal stack ps {name}")
        time.sleep(POLL)
