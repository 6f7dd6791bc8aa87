"""Makes a swarm have what a plan says: networks, then secrets and configs, then services.

Each step looks at what is there and may be repeated, so a deploy that failed halfway is deployed again or removed.
"""

import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shoal.cli.errors import CommandError, Refused
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, identity_of, labels_of, name_of, version_of
from shoal.cli.stack_contents import Found, check_external, remove_unused, settle
from shoal.cli.stack_images import auth_headers, settle_image
from shoal.cli.stack_options import Resolve
from shoal.cli.stack_plan import Plan
from shoal.compose.convert.namespace import STACK

Say = Callable[[str], None]
# How long a network of that name, which was removed a moment ago, is waited for.
NETWORK_PATIENCE, NETWORK_POLL = 30.0, 0.2
_TRIES = 3  # how often a service is decided on again that somebody else changes all the time
_CONFLICT = (403, 409)  # Docker answers 403 where a network of the name is there, and 409 of late
_PREDEFINED = ("host", "none", "bridge", "default")


@dataclass(frozen=True, slots=True)
class How:
    """The flags of a deploy."""

    prune: bool = False
    resolve: Resolve = Resolve.ALWAYS
    with_auth: bool = False


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy made or found: ids of services by name; names and ids of secrets and configs by section and key."""

    services: Mapping[str, str]
    contents: Mapping[str, Found]


def deploy(api: StackApi, plan: Plan, how: How, say: Say, warn: Say) -> Deployed:
    """Deploy a stack. Raises CommandError."""
    stack = plan.project.name
    api.check_manager()
    check_external_networks(api, plan)
    check_networks_are_ours(api, plan)
    check_external(api, plan)
    present = {name_of(each): each for each in api.of_stack("services", stack)}
    wanted = {f"{stack}_{key}" for key in plan.project.services}
    if how.prune:
        for name, each in present.items():
            if name not in wanted:
                say(f"Removing service {name}")
                api.remove("services", identity_of(each))
    _make_networks(api, plan, say)
    found = {section: settle(api, plan, section, say) for section in plan.contents}
    done = {}
    for spec in plan.services(found).values():
        done[spec["Name"]] = _settle_service(api, spec, present.get(spec["Name"]), how, say, warn)
    return Deployed(done, found)


def tidy(api: StackApi, deployed: Deployed, stack: str, say: Say, *, prune: bool) -> None:
    """Remove secrets and configs of earlier deploys that no service has or would go back to.

    Without `prune` only former contents of what is still in the file go: the rest is kept as services are.
    """
    services = api.of_stack("services", stack)
    for section, found in deployed.contents.items():
        kept = {identity for _, identity in found.values()} | _used(services, section.removesuffix("s").capitalize())
        remove_unused(api, stack, section, kept, None if prune else set(found), say)


def _used(services: Iterable[Object], word: str) -> set[str]:
    used = set()
    for service in services:
        for spec in (service["Spec"], service.get("PreviousSpec") or {}):
            container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
            used |= {str(each.get(f"{word}ID")) for each in container.get(f"{word}s") or ()}
    return used


def check_external_networks(api: StackApi, plan: Plan) -> None:
    """Raise CommandError unless the networks that must be there are there, and of the swarm."""
    for name in plan.external_networks:
        if name in _PREDEFINED:
            continue
        network = api.found(f"/networks/{name}")
        if network is None:
            raise CommandError(f"there is no network {name}, which is external: make it before the stack")
        if network.get("Scope") != "swarm":
            raise CommandError(f"the network {name}, which is external, is of this host alone, and not of the swarm")


def check_networks_are_ours(api: StackApi, plan: Plan) -> None:
    """Raise CommandError if there is a network with the name of one of the stack's, that is not the stack's."""
    for each in api.json.many("/networks"):
        owner = labels_of(each).get(STACK)
        if name_of(each) in plan.networks and owner != plan.project.name:
            whose = f"of the stack {owner}" if owner else "of no stack"
            raise CommandError(
                f"a network {name_of(each)} is there, and is {whose}: "
                "remove it, or say in the file that it is external, with this name"
            )


def _make_networks(api: StackApi, plan: Plan, say: Say) -> None:
    present = _networks(api, plan)
    for name, spec in plan.networks.items():
        if name not in present:
            say(f"Creating network {name}")
            _make_network(api, plan, name, spec, say)


def _networks(api: StackApi, plan: Plan) -> set[str]:
    return {name_of(each) for each in api.of_stack("networks", plan.project.name)}


def _make_network(api: StackApi, plan: Plan, name: str, spec: Mapping[str, Any], say: Say) -> None:
    since = time.monotonic()
    is_told = False
    while True:
        try:
            api.send("/networks/create", spec)
            return
        except Refused as error:
            if error.status not in _CONFLICT or time.monotonic() > since + NETWORK_PATIENCE:
                raise CommandError(f"network {name} could not be made: {error}") from error
        check_networks_are_ours(api, plan)
        if name in _networks(api, plan):
            return  # another deploy of this stack was faster
        if not is_told:
            say(f"Waiting until the network {name} that was removed has gone")
            is_told = True
        time.sleep(NETWORK_POLL)


def _settle_service(api: StackApi, wanted: dict[str, Any], seen: Object | None, how: How, say: Say, warn: Say) -> str:
    name = wanted["Name"]
    image = wanted["TaskTemplate"]["ContainerSpec"]["Image"]
    headers: Mapping[str, str] = auth_headers(image, os.environ) if how.with_auth else {}
    spec, present, warning = _decided(api, wanted, seen, how, headers)
    if warning:
        warn(warning)
    try:
        if present is None:
            say(f"Creating service {name}")
            answer = api.send("/services/create", spec, headers)
            identity = str(answer.get("ID", ""))
        else:
            identity = identity_of(present)
            say(f"Updating service {name} (id: {identity})")
            spec["TaskTemplate"]["ForceUpdate"] = present["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
            answer = api.send(f"/services/{identity}/update?version={version_of(present)}", spec, headers)
    except Refused as error:
        raise CommandError(f"service {name} could not be deployed: {error}") from error
    for each in answer.get("Warnings") or ():
        warn(str(each))
    return identity


def _decided(
    api: StackApi, wanted: dict[str, Any], present: Object | None, how: How, headers: Mapping[str, str]
) -> tuple[dict[str, Any], Object | None, str | None]:
    """Return a service's spec with its image, the service as it is now, and a warning.

    Registries take their time, and so do the services before this one. If this one changed meanwhile, then what was
    decided from it is decided again, and the update names its new version.
    """
    spec, warning = wanted, None
    for _ in range(_TRIES):
        spec = copy.deepcopy(wanted)
        warning = settle_image(api, spec, present, how.resolve, headers)
        if present is None:
            break
        before, present = present, api.service(identity_of(present))
        if present is not None and version_of(present) == version_of(before):
            break
    return spec, present, warning
