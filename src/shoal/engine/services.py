"""Services: create, list, inspect, update and roll back, remove. Logs are in `logs`.

Source of semantics and texts: moby daemon/cluster/services.go, daemon/server/router/swarm/cluster_routes.go.
"""

import logging
import random
from typing import TYPE_CHECKING, Any

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups, pinning
from shoal.engine.codec.cache import json_list
from shoal.engine.codec.message import decode_body
from shoal.engine.codec.service import MODE_NAMES, SERVICE, SERVICE_SPEC, drop_newer, read_legacy_networks
from shoal.engine.control_client import rpc
from shoal.engine.names import random_name
from shoal.engine.parameters import go_flag, object_version
from shoal.engine.replies import empty_reply, encoded_reply, json_bytes, json_reply
from shoal.engine.requests import Call
from shoal.errors import InvalidArgument, PermissionDenied, ShoalError

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs

log = logging.getLogger(__name__)

LIST_FILTERS = frozenset({"name", "id", "label", "mode", "runtime"})
AUTH_HEADER = "X-Registry-Auth"

_rng = random.Random()


async def list_services(call: Call) -> web.StreamResponse:
    """GET /services."""
    filters = call.filters(LIST_FILTERS)
    wants_status = call.api >= 41 and go_flag(call, "status", "invalid value for status: %s")
    control = call.backend.node.control()
    wanted = api.ListServicesRequest.Filters(
        name_prefixes=filters.get("name"),
        id_prefixes=filters.get("id"),
        labels=lookups.labels(filters.get("label")),
        runtimes=filters.get("runtime") or ("container",),
    )
    found = (await rpc(control.list_services, api.ListServicesRequest(filters=wanted))).services
    services = [
        service
        for service in found
        if "mode" not in filters or filters.exact("mode", MODE_NAMES.get(service.spec.WhichOneof("mode") or "", ""))
    ]
    texts = [_text(call, service) for service in services]
    if wants_status and services:
        statuses = await _statuses(control, services)
        texts = [_with_status(text, statuses.get(service.id)) for text, service in zip(texts, services, strict=True)]
    return encoded_reply(json_list(texts))


async def _statuses(control: "ControlRpcs", services: list[api.Service]) -> dict[str, bytes]:
    request = api.ListServiceStatusesRequest(services=[service.id for service in services])
    reply = await rpc(control.list_service_statuses, request)
    return {
        status.service_id: json_bytes(
            {
                "RunningTasks": status.running_tasks,
                "DesiredTasks": status.desired_tasks,
                "CompletedTasks": status.completed_tasks,
            }
        )
        for status in reply.statuses
    }


def _with_status(text: bytes, status: bytes | None) -> bytes:
    # The cached text depends on the service's version only, and the status changes without it.
    return text if status is None else b'%b,"ServiceStatus":%b}' % (text[:-1], status)


def _text(call: Call, service: api.Service) -> bytes:
    return _legacy(service) if call.api < 25 else call.backend.encoded.encode(SERVICE, service)


def _legacy(service: api.Service) -> bytes:
    """Return a service for clients before 1.25, which expect its networks beside the task's template."""
    shown = SERVICE.encode(service)
    for spec in (shown["Spec"], shown.get("PreviousSpec")):
        networks = spec["TaskTemplate"].get("Networks") if spec else None
        if spec and networks:
            spec["Networks"] = networks
    return json_bytes(shown)


async def inspect_service(call: Call) -> web.StreamResponse:
    """GET /services/{id}."""
    insert_defaults = go_flag(call, "insertDefaults", "invalid value for insertDefaults: %s")
    control = call.backend.node.control()
    service = await lookups.find_service(control, call.path["id"], insert_defaults=insert_defaults)
    if insert_defaults:
        return json_reply(SERVICE.encode(service))
    return encoded_reply(_text(call, service))


async def create_service(call: Call) -> web.StreamResponse:
    """POST /services/create."""
    spec = await _read_spec(call)
    control = call.backend.node.control()
    await _resolve_networks(call, control, spec)
    auth = call.header(AUTH_HEADER)
    if auth:
        spec.task.container.pull_options.registry_auth = auth
    warnings = await _pin(call, spec)
    reply = await rpc(control.create_service, api.CreateServiceRequest(spec=spec))
    return json_reply({"ID": reply.service.id, "Warnings": warnings or None}, 201)


async def update_service(call: Call) -> web.StreamResponse:
    """POST /services/{id}/update."""
    spec = await _read_spec(call)
    version = object_version(call, "service")
    auth_from = call.query("registryAuthFrom")
    if auth_from not in ("", "spec", "previous-spec"):
        raise InvalidArgument(f"invalid registryAuthFrom '{auth_from}'")
    control = call.backend.node.control()
    await _resolve_networks(call, control, spec)
    current = await lookups.find_service(control, call.path["id"])
    _keep_auth(call.header(AUTH_HEADER), auth_from, current, spec.task.container)
    warnings = await _pin(call, spec)
    request = api.UpdateServiceRequest(
        service_id=current.id,
        service_version=api.Version(index=version),
        spec=spec,
        rollback=_rollback(call.query("rollback")),
    )
    await rpc(control.update_service, request)
    return json_reply({"Warnings": warnings or None})


def _rollback(asked: str) -> api.UpdateServiceRequest.Rollback:
    if asked in ("", "none"):
        return api.UpdateServiceRequest.NONE
    if asked == "previous":
        return api.UpdateServiceRequest.PREVIOUS
    raise ShoalError(f"unrecognized rollback option {asked}")


def _keep_auth(auth: str, auth_from: str, current: api.Service, container: api.ContainerSpec) -> None:
    """Put the registry's password into the new spec: the one in the request, or else that of a former spec.

    Raises ShoalError.
    """
    if auth:
        container.pull_options.registry_auth = auth
        return
    if auth_from == "previous-spec" and not current.HasField("previous_spec"):
        raise ShoalError("service does not have a previous spec")
    source = current.previous_spec if auth_from == "previous-spec" else current.spec
    if not source.task.HasField("container"):
        raise ShoalError("service does not use container tasks")
    if source.task.container.HasField("pull_options"):
        container.pull_options.CopyFrom(source.task.container.pull_options)


async def remove_service(call: Call) -> web.StreamResponse:
    """DELETE /services/{id}."""
    control = call.backend.node.control()
    service = await lookups.find_service(control, call.path["id"])
    await rpc(control.remove_service, api.RemoveServiceRequest(service_id=service.id))
    return empty_reply()


async def _read_spec(call: Call) -> api.ServiceSpec:
    body: Any = await call.json_object()
    spec = decode_body(SERVICE_SPEC, body)
    if call.api < 44:
        read_legacy_networks(body, spec)
    drop_newer(spec, call.api)
    if not spec.annotations.name:
        spec.annotations.name = random_name(_rng)
    return spec


async def _resolve_networks(call: Call, control: "ControlRpcs", spec: api.ServiceSpec) -> None:
    """Replace the names of networks by their ids in the swarm. Source: moby cluster/services.go, populateNetworkID."""
    for network in spec.task.networks:
        try:
            network.target = (await lookups.find_network(control, network.target)).id
        except ShoalError:
            local = next((n for n in call.backend.network.networks() if network.target in (n.id, n.name)), None)
            if local is None:
                raise
            # A local id of the host's bridge, host or none means the swarm's object of that name.
            try:
                network.target = (await lookups.find_network(control, local.name)).id
            except ShoalError:
                raise PermissionDenied(
                    f"The network {network.target} cannot be used with services. Only networks scoped to the swarm can "
                    "be used, such as those created with the overlay driver."
                ) from None


async def _pin(call: Call, spec: api.ServiceSpec) -> list[str]:
    """Pin the image to its digest for clients that do not do it themselves. Return warnings."""
    if call.api >= 30:
        return []
    container = spec.task.container
    try:
        container.image = await pinning.pinned(
            call.backend.images, container.image, container.pull_options.registry_auth
        )
    except ShoalError as error:
        log.warning("unable to pin image %s to digest: %s", container.image, error)
        return [pinning.warning(container.image)]
    return []


ROUTES = [
    ("GET", "/services", list_services),
    ("GET", "/services/{id}", inspect_service),
    ("POST", "/services/create", create_service),
    ("POST", "/services/{id}/update", update_service),
    ("DELETE", "/services/{id}", remove_service),
]
