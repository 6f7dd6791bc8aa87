"""Control's networks: create, get, list, remove. The allocator decides which subnets they get.

Source of checks and texts: SwarmKit manager/controlapi/network.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.predefined import LABEL, is_ingress, is_predefined, needs_ingress
from shoal.api.states import is_live
from shoal.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from shoal.manager.allocator.endpoints import networks_of
from shoal.manager.allocator.networks import IPAM_DRIVER, LOCAL_DRIVERS, OVERLAY
from shoal.manager.control.filters import named
from shoal.manager.control.names import validate_annotations
from shoal.manager.control.requests import require
from shoal.manager.control.validate_ipam import validate_ipam
from shoal.store.memory import Transaction, View

if TYPE_CHECKING:
    from shoal.store.store import Store

DRIVERS = frozenset({OVERLAY, *LOCAL_DRIVERS} - {"null"})


class Networks:
    """The RPCs of networks."""

    def __init__(self, store: Store, new_id: Callable[[], str]) -> None:
        self._store = store
        self._new_id = new_id

    async def get_network(self, request: api.GetNetworkRequest) -> api.GetNetworkResponse:
        """Return a network. Raises NotFound."""
        require(request.network_id)
        return api.GetNetworkResponse(network=self._network(request.network_id))

    async def list_networks(self, request: api.ListNetworksRequest) -> api.ListNetworksResponse:
        """Return the networks that pass the filters, the predefined ones included."""
        return api.ListNetworksResponse(
            networks=[
                network
                for network in self._store.view().networks.all()
                if named(network.id, network.spec.annotations, request.filters)
            ]
        )

    async def create_network(self, request: api.CreateNetworkRequest) -> api.CreateNetworkResponse:
        """Store a new network. Raises Conflict if the name is taken, or if there is an ingress network already."""
        require(request.HasField("spec"))
        validate_network_spec(request.spec)
        network = api.Network(id=self._new_id(), spec=request.spec)

        def create(transaction: Transaction) -> None:
            if request.spec.ingress:
                present = next((each for each in transaction.networks.all() if is_ingress(each)), None)
                if present is not None:
                    raise Conflict(f"ingress network ({present.id}) is already present")
            transaction.create(network)

        await self._store.update(create)
        return api.CreateNetworkResponse(network=self._network(network.id))

    async def remove_network(self, request: api.RemoveNetworkRequest) -> api.RemoveNetworkResponse:
        """Remove a network that nothing uses any more."""
        require(request.network_id)

        def remove(transaction: Transaction) -> None:
            network = transaction.networks.get(request.network_id)
            if network is None:
                raise _not_found(request.network_id)
            if is_ingress(network):
                _check_ingress_is_free(transaction)
            elif is_predefined(network):
                raise FailedPrecondition(
                    f"network {network.id} ({network.spec.annotations.name}) is a swarm predefined network "
                    "and cannot be removed"
                )
            else:
                _check_is_free(transaction, network.id)
            transaction.remove(api.Network, network.id)

        await self._store.update(remove)
        return api.RemoveNetworkResponse()

    def _network(self, network_id: str) -> api.Network:
        network = self._store.view().networks.get(network_id)
        if network is None:
            raise _not_found(network_id)
        return network


def _not_found(network_id: str) -> NotFound:
    return NotFound(f"network {network_id} not found")


def _check_ingress_is_free(view: View) -> None:
    for service in view.services.all():
        if needs_ingress(service.spec):
            raise FailedPrecondition(f"ingress network cannot be removed because service {service.id} depends on it")


def _check_is_free(view: View, network_id: str) -> None:
    """Raise FailedPrecondition for the first service or task that uses a network.

    Tasks that are told to end do not count, nor do tasks whose service is gone: who removes a stack removes its
    networks right after its services. Ended tasks never count (moby/swarmkit#2018).
    """
    for service in view.services.all():
        if any(attachment.target == network_id for attachment in networks_of(service.spec)):
            raise FailedPrecondition(f"network {network_id} is in use by service {service.id}")
    for task in view.tasks.all():
        if not (task.networks or task.spec.networks) or not is_live(task):
            continue
        if task.service_id and view.services.get(task.service_id) is None:
            continue
        if any(one.target == network_id for one in task.spec.networks) or any(
            one.network.id == network_id for one in task.networks
        ):
            raise FailedPrecondition(f"network {network_id} is in use by task {task.id}")


def validate_network_spec(spec: api.NetworkSpec) -> None:
    """Raise InvalidArgument or PermissionDenied for the first mistake in a network's spec."""
    if spec.attachable and spec.ingress:
        raise InvalidArgument("ingress network cannot be attachable")
    validate_annotations(spec.annotations)
    if LABEL in spec.annotations.labels:
        raise PermissionDenied(
            f"label {LABEL} is for internally created predefined networks and cannot be applied by users"
        )
    _validate_driver(spec, "driver_config", DRIVERS)
    _validate_driver(spec.ipam, "driver", (IPAM_DRIVER,))
    validate_ipam(spec.ipam)


def _validate_driver(owner: api.NetworkSpec | api.IPAMOptions, field: str, known: Iterable[str]) -> None:
    if not owner.HasField(field):
        return
    name: str = getattr(owner, field).name
    if not name:
        raise InvalidArgument("driver name: if driver is specified name is required")
    if name.lower() not in known:
        raise InvalidArgument(f"error during lookup of plugin {name}")
