"""Secrets: create, list, inspect, update, remove. Source: moby daemon/cluster/secrets.go, cluster_routes.go."""

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.message import decode_body
from shoal.engine.codec.secret import SECRET, SECRET_SPEC
from shoal.engine.control_client import rpc
from shoal.engine.parameters import object_version
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.errors import InvalidArgument

LIST_FILTERS = frozenset({"id", "name", "names", "label"})


async def list_secrets(call: Call) -> web.StreamResponse:
    """GET /secrets."""
    filters = call.filters(LIST_FILTERS)
    wanted = api.ListSecretsRequest.Filters(
        names=filters.get("names"),
        name_prefixes=filters.get("name"),
        id_prefixes=filters.get("id"),
        labels=lookups.labels(filters.get("label")),
    )
    control = call.backend.node.control()
    secrets = (await rpc(control.list_secrets, api.ListSecretsRequest(filters=wanted))).secrets
    return json_reply([SECRET.encode(secret) for secret in secrets])


async def create_secret(call: Call) -> web.StreamResponse:
    """POST /secrets/create."""
    spec = decode_body(SECRET_SPEC, await call.json_object())
    if spec.HasField("templating") and call.api < 37:
        raise InvalidArgument(f"secret templating is not supported on the specified API version: 1.{call.api}")
    reply = await rpc(call.backend.node.control().create_secret, api.CreateSecretRequest(spec=spec))
    return json_reply({"ID": reply.secret.id}, 201)


async def inspect_secret(call: Call) -> web.StreamResponse:
    """GET /secrets/{id}."""
    return json_reply(SECRET.encode(await lookups.find_secret(call.backend.node.control(), call.path["id"])))


async def update_secret(call: Call) -> web.StreamResponse:
    """POST /secrets/{id}/update."""
    spec = decode_body(SECRET_SPEC, await call.json_object())
    version = object_version(call, "secret", brief=True)
    control = call.backend.node.control()
    secret = await lookups.find_secret(control, call.path["id"])
    request = api.UpdateSecretRequest(secret_id=secret.id, secret_version=api.Version(index=version), spec=spec)
    await rpc(control.update_secret, request)
    return empty_reply()


async def remove_secret(call: Call) -> web.StreamResponse:
    """DELETE /secrets/{id}."""
    control = call.backend.node.control()
    secret = await lookups.find_secret(control, call.path["id"])
    await rpc(control.remove_secret, api.RemoveSecretRequest(secret_id=secret.id))
    return empty_reply(204)


ROUTES = [
    ("GET", "/secrets", list_secrets),
    ("POST", "/secrets/create", create_secret),
    ("GET", "/secrets/{id}", inspect_secret),
    ("POST", "/secrets/{id}/update", update_secret),
    ("DELETE", "/secrets/{id}", remove_secret),
]
