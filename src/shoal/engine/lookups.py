"""Finds an object of the swarm by a text: its id, or else its exact name, or else a unique prefix of its id.

Source: moby daemon/cluster/helpers.go.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from shoal.api import v1 as api
from shoal.engine.control_client import rpc
from shoal.engine.errors import RpcError
from shoal.errors import InvalidArgument, NotFound, ShoalError

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs

T = TypeVar("T")


async def _find(
    kind: str,
    ref: str,
    get: Callable[[], Awaitable[T]],
    by_name: Callable[[], Awaitable[Sequence[T]]],
    by_prefix: Callable[[], Awaitable[Sequence[T]]],
) -> T:
    """Return the object that `ref` means. Raises NotFound, InvalidArgument if it is ambiguous, RpcError."""
    try:
        return await get()
    except RpcError:
        pass  # if the manager cannot be reached, the last call below raises that
    try:
        found = await by_name()
    except RpcError:
        found = ()
    if not found:
        found = await by_prefix()
    if not found:
        raise NotFound(f"{kind} {ref} not found")
    if len(found) > 1:
        raise InvalidArgument(f"{kind} {ref} is ambiguous ({len(found)} matches found)")
    return found[0]


async def find_node(control: "ControlRpcs", ref: str) -> api.Node:
    """Return a node by id, hostname or beginning of an id."""
    filters = api.ListNodesRequest.Filters

    async def get() -> api.Node:
        return (await rpc(control.get_node, api.GetNodeRequest(node_id=ref))).node

    async def listed(wanted: api.ListNodesRequest.Filters) -> Sequence[api.Node]:
        return (await rpc(control.list_nodes, api.ListNodesRequest(filters=wanted))).nodes

    return await _find(
        "node", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
    )


async def find_service(control: "ControlRpcs", ref: str, *, insert_defaults: bool = False) -> api.Service:
    """Return a service by id, name or beginning of an id."""
    filters = api.ListServicesRequest.Filters

    async def get(service_id: str = ref) -> api.Service:
        request = api.GetServiceRequest(service_id=service_id, insert_defaults=insert_defaults)
        return (await rpc(control.get_service, request)).service

    async def listed(wanted: api.ListServicesRequest.Filters) -> Sequence[api.Service]:
        return (await rpc(control.list_services, api.ListServicesRequest(filters=wanted))).services

    found = await _find(
        "service", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
    )
    # Lists do not insert defaults.
    return await get(found.id) if insert_defaults and found.id != ref else found


async def find_task(control: "ControlRpcs", ref: str) -> api.Task:
    """Return a task by id, name or beginning of an id."""
    filters = api.ListTasksRequest.Filters

    async def get() -> api.Task:
        return (await rpc(control.get_task, api.GetTaskRequest(task_id=ref))).task

    async def listed(wanted: api.ListTasksRequest.Filters) -> Sequence[api.Task]:
        return (await rpc(control.list_tasks, api.ListTasksRequest(filters=wanted))).tasks

    return await _find(
        "task", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
    )


async def find_secret(control: "ControlRpcs", ref: str) -> api.Secret:
    """Return a secret by id, name or beginning of an id."""
    filters = api.ListSecretsRequest.Filters

    async def get() -> api.Secret:
        return (await rpc(control.get_secret, api.GetSecretRequest(secret_id=ref))).secret

    async def listed(wanted: api.ListSecretsRequest.Filters) -> Sequence[api.Secret]:
        return (await rpc(control.list_secrets, api.ListSecretsRequest(filters=wanted))).secrets

    return await _find(
        "secret", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
    )


async def find_config(control: "ControlRpcs", ref: str) -> api.Config:
    """Return a config by id, name or beginning of an id."""
    filters = api.ListConfigsRequest.Filters

    async def get() -> api.Config:
        return (await rpc(control.get_config, api.GetConfigRequest(config_id=ref))).config

    async def listed(wanted: api.ListConfigsRequest.Filters) -> Sequence[api.Config]:
        return (await rpc(control.list_configs, api.ListConfigsRequest(filters=wanted))).configs

    return await _find(
        "config", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
    )


async def find_network(control: "ControlRpcs", ref: str) -> api.Network:
    """Return a network by id, name or beginning of an id. As in Docker, an unknown one is a ShoalError, HTTP 500."""
    filters = api.ListNetworksRequest.Filters

    async def get() -> api.Network:
        return (await rpc(control.get_network, api.GetNetworkRequest(network_id=ref))).network

    async def listed(wanted: api.ListNetworksRequest.Filters) -> Sequence[api.Network]:
        return (await rpc(control.list_networks, api.ListNetworksRequest(filters=wanted))).networks

    try:
        return await _find(
            "network", ref, get, lambda: listed(filters(names=[ref])), lambda: listed(filters(id_prefixes=[ref]))
        )
    except NotFound as error:
        raise ShoalError(str(error)) from None


async def the_cluster(control: "ControlRpcs") -> api.Cluster:
    """Return the swarm's own object."""
    clusters = (await rpc(control.list_clusters, api.ListClustersRequest())).clusters
    if not clusters:
        raise NotFound("This node is not part of a swarm")
    return clusters[0]


def labels(values: Sequence[str]) -> dict[str, str]:
    """Return label filters, `name` or `name=value`, in the form of the manager's requests."""
    return {name: value for name, _, value in (each.partition("=") for each in values)}
