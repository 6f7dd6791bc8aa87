"""Which virtual IPs a container's namespace has, and who is behind each. Pure.

Other nodes say who is behind what. One that has turned must not lead a container's packets anywhere but within the
network that it speaks of: an address outside the network's subnets is none of its virtual IPs, nor a backend.
"""

import ipaddress
from collections.abc import Iterable

from shoal.network.balancing.rules import Virtual
from shoal.network.directory import Directory
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Sandbox


def virtuals(sandbox: Sandbox, directory: Directory, overlays: Iterable[Overlay]) -> tuple[Virtual, ...]:
    """Return the virtual IPs that a container can ask for: of those of its networks that are among `overlays`.

    Ingress has none. Two services that claim one address on a network (one has just been removed) share it until one
    is gone.
    """
    found: dict[Address, tuple[set[Address], set[Address]]] = {}
    on = {endpoint.network for endpoint in sandbox.endpoints}
    for overlay in sorted(overlays, key=lambda one: one.id):
        if overlay.ingress or overlay.id not in on:
            continue
        subnets = [ipaddress.ip_network(one.subnet) for one in overlay.subnets]
        for key in directory.services(overlay.id):
            if not any(key.vip in subnet for subnet in subnets):
                continue
            active, leaving = found.setdefault(key.vip, (set(), set()))
            for address, enabled in directory.backends(key).items():
                if any(address in subnet for subnet in subnets):
                    (active if enabled else leaving).add(address)
    return tuple(
        Virtual(address, frozenset(active), frozenset(leaving - active))
        for address, (active, leaving) in sorted(found.items(), key=lambda item: item[0].packed)
    )
