"""The five API calls that secrets and configs have in common. SwarmKit's word for both is dependencies.

In: a `Kind`, which has the differences between `secrets` and `configs`. Out: its routes.
Source: moby daemon/server/router/swarm/cluster_routes.go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine.codec.message import MessageCodec, decode_body
from shoal.engine.parameters import object_version
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call, Filters
from shoal.engine.router import Route
from shoal.errors import InvalidArgument

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs

Spec = TypeVar("Spec", api.SecretSpec, api.ConfigSpec)
Object = TypeVar("Object", api.Secret, api.Config)

# The API's version that brought templates of secrets and configs.
_TEMPLATING_SINCE = 37


class Kind(ABC, Generic[Spec, Object]):
    """A kind of dependency (secrets or configs): its name, its JSON, its filters, and the manager's RPCs."""

    name: str
    spec: MessageCodec[Spec]
    object: MessageCodec[Object]
    list_filters: frozenset[str]

    @abstractmethod
    async def list(self, control: ControlRpcs, filters: Filters) -> Sequence[Object]:
        """Return the objects that pass the filters."""

    @abstractmethod
    async def find(self, control: ControlRpcs, ref: str) -> Object:
        """Return the object with this id, name or unique prefix of an id. Raises NotFound."""

    @abstractmethod
    async def create(self, control: ControlRpcs, spec: Spec) -> Object:
        """Make an object and return it."""

    @abstractmethod
    async def update(self, control: ControlRpcs, object_id: str, version: api.Version, spec: Spec) -> None:
        """Give an object another spec. Raises OutOfSequence if the version is not the stored one."""

    @abstractmethod
    async def remove(self, control: ControlRpcs, object_id: str) -> None:
        """Remove an object."""


def routes(kind: Kind[Any, Any]) -> list[Route]:
    """Return the routes of a kind, with their handlers."""
    handlers = _Handlers(kind)
    path = f"/{kind.name}s"
    return [
        ("GET", path, handlers.list),
        ("POST", f"{path}/create", handlers.create),
        ("GET", f"{path}/{{id}}", handlers.inspect),
        ("POST", f"{path}/{{id}}/update", handlers.update),
        ("DELETE", f"{path}/{{id}}", handlers.remove),
    ]


class _Handlers:
    def __init__(self, kind: Kind[Any, Any]) -> None:
        self._kind = kind

    async def list(self, call: Call) -> web.StreamResponse:
        """GET /{kind}s."""
        filters = call.filters(self._kind.list_filters)
        found = await self._kind.list(call.backend.node.control(), filters)
        return json_reply([self._kind.object.encode(each) for each in found])

    async def create(self, call: Call) -> web.StreamResponse:
        """POST /{kind}s/create."""
        spec = decode_body(self._kind.spec, await call.json_object())
        if spec.HasField("templating") and call.api < _TEMPLATING_SINCE:
            raise InvalidArgument(
                f"{self._kind.name} templating is not supported on the specified API version: 1.{call.api}"
            )
        made = await self._kind.create(call.backend.node.control(), spec)
        return json_reply({"ID": made.id}, 201)

    async def inspect(self, call: Call) -> web.StreamResponse:
        """GET /{kind}s/{id}."""
        found = await self._kind.find(call.backend.node.control(), call.path["id"])
        return json_reply(self._kind.object.encode(found))

    async def update(self, call: Call) -> web.StreamResponse:
        """POST /{kind}s/{id}/update."""
        spec = decode_body(self._kind.spec, await call.json_object())
        version = api.Version(index=object_version(call, self._kind.name, brief=True))
        control = call.backend.node.control()
        found = await self._kind.find(control, call.path["id"])
        await self._kind.update(control, found.id, version, spec)
        return empty_reply()

    async def remove(self, call: Call) -> web.StreamResponse:
        """DELETE /{kind}s/{id}."""
        control = call.backend.node.control()
        found = await self._kind.find(control, call.path["id"])
        await self._kind.remove(control, found.id)
        return empty_reply(204)
