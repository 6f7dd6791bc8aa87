"""Which image a deployed service gets: its tag, pinned by the digest that the registry has for it now.

Source: moby client/service_create.go; docker/cli cli/command/stack/swarm/deploy.go.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shoal.cli.errors import CommandError, Refused
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, labels_of
from shoal.cli.stack_options import Resolve
from shoal.compose.convert.namespace import IMAGE
from shoal.json_text import read_json

AUTH_HEADER = "X-Registry-Auth"
_DOCKER_HUB = "https://index.docker.io/v1/"


def tagged(image: str) -> str:
    """Return an image with its tag, `latest` if it names none."""
    last = image.rpartition("/")[2]
    return image if "@" in image or ":" in last else f"{image}:latest"


def settle_image(
    api: StackApi, spec: dict[str, Any], present: Object | None, resolve: Resolve, headers: Mapping[str, str]
) -> str | None:
    """Put the image that a service is to run into its spec. Return a warning if the registry does not answer."""
    task = spec["TaskTemplate"]
    container = task["ContainerSpec"]
    is_same = present is not None and labels_of(present).get(IMAGE) == container["Image"]
    if present is not None and is_same and resolve is not Resolve.ALWAYS:
        _keep(task, present)
        return None
    container["Image"] = tagged(container["Image"])
    if resolve is Resolve.NEVER or "@" in container["Image"]:
        return None
    try:
        found = api.json.one(f"/distribution/{quote(container['Image'], safe='/:')}/json", headers)
    except Refused:
        if present is not None and is_same:  # what it runs now: a deploy of the same file must change nothing
            _keep(task, present)
        return f"image {container['Image']} could not be asked for at its registry: each node takes what it finds there"
    pinned = found.get("Descriptor", {}).get("digest")
    if pinned:
        container["Image"] = f"{container['Image']}@{pinned}"
    platforms = [_platform(each) for each in found.get("Platforms") or ()]
    if platforms:
        task.setdefault("Placement", {})["Platforms"] = platforms
    return None


def _keep(task: dict[str, Any], present: Object) -> None:
    before = present["Spec"]["TaskTemplate"]
    task["ContainerSpec"]["Image"] = before["ContainerSpec"]["Image"]
    platforms = (before.get("Placement") or {}).get("Platforms")
    if platforms:
        task.setdefault("Placement", {})["Platforms"] = platforms


def _platform(each: Mapping[str, Any]) -> dict[str, str]:
    architecture = str(each.get("architecture", ""))
    # Nodes say armv7l and the like, so that a task for arm would find none.
    return {"Architecture": "" if architecture.lower() == "arm" else architecture, "OS": str(each.get("os", ""))}


def auth_headers(image: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header with what `docker login` left for an image's registry. Raises CommandError."""
    folder = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME", "/")) / ".docker")
    try:
        config = read_json((folder / "config.json").read_bytes())
    except FileNotFoundError:
        return {AUTH_HEADER: _encoded({})}
    except (OSError, ValueError) as error:
        raise CommandError(f"{folder / 'config.json'} cannot be read: {error}") from error
    server = _registry(image)
    entry = config.get("auths", {}).get(server) if isinstance(config, dict) else None
    if not isinstance(entry, dict) or not entry.get("auth"):
        if config.get("credsStore") or server in config.get("credHelpers", {}):
            raise CommandError(f"the password for {server} is kept by another program, which shoal does not ask")
        return {AUTH_HEADER: _encoded({})}
    try:
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except ValueError as error:
        raise CommandError(f"{folder / 'config.json'} has no readable password for {server}") from error
    return {AUTH_HEADER: _encoded({"username": user, "password": password, "serveraddress": server})}


def _registry(image: str) -> str:
    first = image.partition("/")[0]
    is_host = "/" in image and ("." in first or ":" in first or first == "localhost")
    return first if is_host and first not in ("docker.io", "index.docker.io") else _DOCKER_HUB


def _encoded(auth: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()
