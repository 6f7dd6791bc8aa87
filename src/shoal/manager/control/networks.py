"""Control's networks: get and list. Create and remove are refused until Shoal has overlay networks.

Source of texts: SwarmKit manager/controlapi/network.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.predefined import LABEL, is_predefined
from shoal.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unimplemented
from shoal.manager.control import unsupported
from shoal.manager.control.filters import named
from shoal.manager.control.names import validate_annotations
from shoal.manager.control.requests import require
from shoal.manager.control.validate_ipam import validate_ipam

if TYPE_CHECKING:
    from shoal.store.store import Store


class Networks:
    """The RPCs of networks."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        """Raise Docker's error for a wrong spec, Unimplemented for any other."""
        require(request.HasField("spec"))
        validate_network_spec(request.spec)
        raise Unimplemented(unsupported.CREATE_NETWORK)

    async def remove_network(self, request: api.RemoveNetworkRequest) -> api.RemoveNetworkResponse:
        """Raise NotFound, or FailedPrecondition for a predefined network. There are no others yet."""
        require(request.network_id)
        network = self._network(request.network_id)
        if is_predefined(network):
            raise FailedPrecondition(
                f"network {network.id} ({network.spec.annotations.name}) is a swarm predefined network "
                "and cannot be removed"
            )
        raise Unimplemented(unsupported.CREATE_NETWORK)

    def _network(self, network_id: str) -> api.Network:
        network = self._store.view().networks.get(network_id)
        if network is None:
            raise NotFound(f"network {network_id} not found")
        return network


def validate_network_spec(spec: api.NetworkSpec) -> None:
    """Raise InvalidArgument or PermissionDenied for the first mistake in a network's spec."""
    if spec.attachable and spec.ingress:
        raise InvalidArgument("ingress network cannot be attachable")
    validate_annotations(spec.annotations)
    if LABEL in spec.annotations.labels:
        raise PermissionDenied(
            f"label {LABEL} is for internally created predefined networks and cannot be applied by users"
        )
    validate_ipam(spec.ipam)
