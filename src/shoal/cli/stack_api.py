"""What a stack has in the swarm, and the calls that make, change and remove it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shoal.cli import client
from shoal.cli.errors import CommandError, Refused
from shoal.cli.hosts import Target
from shoal.cli.json_client import JsonClient, Object
from shoal.compose.convert.namespace import STACK
from shoal.json_text import read_json

KINDS = ("services", "secrets", "configs", "networks")
_HTTP_NOT_FOUND = 404


class StackApi:
    """The Engine API, for the objects of stacks."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.json = JsonClient(target)

    def check_manager(self) -> None:
        """Raise CommandError unless the daemon is a manager: only these can make networks of a swarm."""
        swarm = self.json.one("/info").get("Swarm")
        if not isinstance(swarm, dict) or not swarm.get("ControlAvailable"):
            raise CommandError("this node is no manager of a swarm: ask one (-H), or begin a swarm (docker swarm init)")

    def of_stack(self, kind: str, stack: str) -> list[Object]:
        """Return the objects of a kind that belong to a stack, in the order of their names."""
        query = {"label": [f"{STACK}={stack}"]}
        return sorted(self.json.many(f"/{kind}", query), key=name_of)

    def all_services(self) -> list[Object]:
        """Return the services of all stacks."""
        return self.json.many("/services", {"label": [STACK]})

    def tasks(self, stack: str) -> list[Object]:
        """Return the tasks of a stack's services, and what is left of those that were removed."""
        return self.json.many("/tasks", {"label": [f"{STACK}={stack}"]})

    def service(self, identity: str) -> Object | None:
        """Return a service, or None if it is gone."""
        return self.found(f"/services/{quote(identity, safe='')}")

    def found(self, path: str) -> Object | None:
        """Return an object, or None if there is none."""
        try:
            return self.json.one(path)
        except Refused as error:
            if error.status == _HTTP_NOT_FOUND:
                return None
            raise

    def send(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Object:
        """POST an object, and return the one in the answer, empty if it has none."""
        data = json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        with client.call(self._target, "POST", path, None, [data], len(data), given) as answer:
            content = answer.read()
        found = read_json(content) if content.strip() else {}
        return found if isinstance(found, dict) else {}

    def remove(self, kind: str, identity: str) -> None:
        """Remove an object. One that is gone already is no error."""
        try:
            with client.call(self._target, "DELETE", f"/{kind}/{quote(identity, safe='')}"):
                pass
        except Refused as error:
            if error.status != _HTTP_NOT_FOUND:
                raise


def name_of(found: Object) -> str:
    """Return the name of an object of any kind."""
    spec = found.get("Spec")
    return str(spec.get("Name", "") if isinstance(spec, dict) else found.get("Name", ""))


def identity_of(found: Object) -> str:
    """Return the id of an object of any kind."""
    return str(found.get("ID") or found.get("Id") or "")


def labels_of(found: Object) -> Mapping[str, str]:
    """Return the labels of an object of any kind."""
    spec = found.get("Spec")
    labels = (spec if isinstance(spec, dict) else found).get("Labels")
    return labels if isinstance(labels, dict) else {}


def version_of(found: Object) -> str:
    """Return the version of an object, which a change of it must name."""
    return str(found.get("Version", {}).get("Index", ""))
