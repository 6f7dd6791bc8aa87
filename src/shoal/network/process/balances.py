"""Which virtual IPs a container's namespace has, and who is behind each. Pure."""

from collections.abc import Iterable

from shoal.network.balancing.rules import Virtual
from shoal.network.directory import Directory
from shoal.network.records import Address
from shoal.network.wanted import Sandbox


def virtuals(sandbox: Sandbox, directory: Directory, named: Iterable[str]) -> tuple[Virtual, ...]:
    """Return the virtual IPs that a container can ask for: of its networks among `named`, which ingress is not.

    Two services that claim one address on a network (one has just been removed) share it until one is gone.
    """
    found: dict[Address, tuple[set[Address], set[Address]]] = {}
    networks = {endpoint.network for endpoint in sandbox.endpoints} & set(named)
    for network in sorted(networks):
        for key in directory.services(network):
            active, leaving = found.setdefault(key.vip, (set(), set()))
            for address, enabled in directory.backends(key).items():
                (active if enabled else leaving).add(address)
    return tuple(
        Virtual(address, frozenset(active), frozenset(leaving - active))
        for address, (active, leaving) in sorted(found.items(), key=lambda item: item[0].packed)
    )
