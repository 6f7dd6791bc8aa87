"""Finds a node's own addresses, from the user's request and the host's interfaces.

In: the user's request, or a saved state. Out: a `NodeState`. `addresses` decides which address is chosen.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network

from shoal.errors import InvalidArgument, ShoalError
from shoal.node import addresses
from shoal.node.interfaces import address_towards, list_interfaces
from shoal.node.state import NodeState
from shoal.node.types import InitRequest, JoinRequest

log = logging.getLogger(__name__)


class Places:
    """Finds a node's addresses. It never chooses one in `own_subnets`, those of this host's container networks."""

    def __init__(self, own_subnets: Callable[[], Sequence[IPv4Network]], default_advertise: str) -> None:
        self._own_subnets = own_subnets
        self._default_advertise = default_advertise

    async def founding(self, request: InitRequest) -> NodeState:
        """Return the state of a node that makes a swarm. Raises InvalidArgument, ShoalError."""
        found = addresses.resolve(
            request.listen_addr,
            request.advertise_addr,
            request.data_path_addr,
            await list_interfaces(),
            own_subnets=self._own_subnets(),
            default_advertise=self._default_advertise,
        )
        addresses.check_pools(request.default_addr_pool, request.subnet_size)
        return NodeState(
            listen_addr=found.listen,
            advertise_addr=found.advertise,
            local_addr=found.local,
            data_path_addr=found.data_path,
            data_path_port=addresses.check_data_path_port(request.data_path_port),
            default_addr_pool=request.default_addr_pool,
            subnet_size=request.subnet_size,
        )

    async def joining(self, request: JoinRequest) -> tuple[JoinRequest, NodeState]:
        """Return the request with the manager's port added, and the joining node's state. Raises as `founding` does."""
        if not request.remote_addrs:
            raise InvalidArgument("at least 1 RemoteAddr is required to join")
        remote = addresses.remote_address(request.remote_addrs[0])
        found = addresses.resolve_joining(
            request.listen_addr,
            request.advertise_addr,
            request.data_path_addr,
            await list_interfaces(),
            towards_manager=await address_towards(*addresses.split_host_port(remote, addresses.DEFAULT_PORT)),
        )
        node_state = NodeState(
            listen_addr=found.listen,
            advertise_addr=found.advertise,
            local_addr=found.local,
            data_path_addr=found.data_path,
            remote_addr=remote,
            join_in_progress=True,
        )
        return replace(request, remote_addrs=(remote,)), node_state

    async def relocated(self, saved: NodeState) -> NodeState:
        """Return a node's state with the addresses that the host has now; unchanged if none can be chosen."""
        try:
            moved = addresses.relocate(
                addresses.NodeAddresses(
                    saved.listen_addr, saved.advertise_addr, saved.data_path_addr, saved.local_addr
                ),
                await list_interfaces(),
                own_subnets=self._own_subnets(),
                default_advertise=self._default_advertise,
            )
        except ShoalError as error:
            log.warning("%s is no address of this host any more: %s", saved.local_addr, error)
            return saved
        if moved is None:
            return saved
        log.warning("this host's address is not %s any more but %s", saved.local_addr, moved.local)
        return replace(
            saved,
            listen_addr=moved.listen,
            advertise_addr=moved.advertise,
            data_path_addr=moved.data_path,
            local_addr=moved.local,
        )
