"""Which virtual IPs a container's namespace has, and who is behind each. Pure.

Other nodes say who is behind what. One that has turned must not lead a container's packets anywhere but within the
network that it speaks of: an address outside the network's subnets is none of its virtual IPs, nor a backend.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping

from shoal.network.balancing.rules import Virtual
from shoal.network.claims import ServiceKey
from shoal.network.directory import Directory
from shoal.network.records import Address
from shoal.network.rtnetlink import Network
from shoal.network.wanted import Overlay, Sandbox

Virtuals = Mapping[Address, Virtual]
# Sets of networks that containers are on, of which the virtual IPs are kept together. Beyond that they are put together
# anew, which costs some time.
MOST_TOGETHER = 1024


class _Balanced:
    """The virtual IPs of one network. `virtuals` is another object whenever there is a change."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.subnets: list[Network] = [ipaddress.ip_network(one.subnet) for one in overlay.subnets]
        self.virtuals: dict[Address, Virtual] = {}

    def has(self, address: Address) -> bool:
        return any(address in subnet for subnet in self.subnets)


class Balances:
    """The virtual IPs of all networks, and of each container: those of its networks.

    Two services that claim one address (one has just been removed) share it until one is gone.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._networks: dict[str, _Balanced] = {}
        # By the networks that a container is on: of which virtual IPs they are, and all together.
        self._together: dict[tuple[str, ...], tuple[list[Virtuals], Virtuals]] = {}

    def change(self, overlays: Iterable[Overlay], services: Iterable[ServiceKey]) -> set[str]:
        """Take over which overlays there are, and these services, of which something changed.

        Return the networks whose virtual IPs are others now. Ingress has none.
        """
        made = {overlay.id: overlay for overlay in overlays if not overlay.ingress}
        changed = self._networks.keys() - made.keys()
        for network in changed:
            del self._networks[network]
        addresses: dict[str, set[Address]] = {}
        for network, overlay in made.items():
            known = self._networks.get(network)
            if known is None or (known.overlay is not overlay and known.overlay.subnets != overlay.subnets):
                self._networks[network] = _Balanced(overlay)
                addresses[network] = {key.vip for key in self._directory.services(network)}
                changed.add(network)
        for key in services:
            if key.network in self._networks:
                addresses.setdefault(key.network, set()).add(key.vip)
        changed |= {network for network, found in addresses.items() if self._look_up(network, found)}
        if changed:
            self._together = {on: known for on, known in self._together.items() if changed.isdisjoint(on)}
        return changed

    def _look_up(self, network: str, addresses: Collection[Address]) -> bool:
        """Say anew who is behind these virtual IPs; return whether anything changed."""
        balanced = self._networks[network]
        keys: dict[Address, list[ServiceKey]] = {address: [] for address in addresses if balanced.has(address)}
        for key in self._directory.services(network):
            if key.vip in keys:
                keys[key.vip].append(key)
        virtuals = dict(balanced.virtuals)
        for address, claiming in keys.items():
            if claiming:
                virtuals[address] = self._virtual(balanced, address, claiming)
            else:
                virtuals.pop(address, None)
        if virtuals == balanced.virtuals:
            return False
        balanced.virtuals = virtuals
        return True

    def _virtual(self, balanced: _Balanced, address: Address, claiming: Iterable[ServiceKey]) -> Virtual:
        active: set[Address] = set()
        leaving: set[Address] = set()
        for key in claiming:
            for backend, enabled in self._directory.backends(key).items():
                # One of another family cannot be behind it, whatever another node says.
                if backend.version == address.version and balanced.has(backend):
                    (active if enabled else leaving).add(backend)
        return Virtual(address, frozenset(active), frozenset(leaving - active))

    def virtuals(self, sandbox: Sandbox) -> Virtuals:
        """Return the virtual IPs that a container can ask for; the same object where they are the same.

        Subnets of two networks may overlap: then they share an address that both have.
        """
        on = tuple(sorted({one.network for one in sandbox.endpoints if one.network in self._networks}))
        parts: list[Virtuals] = [self._networks[network].virtuals for network in on]
        known = self._together.get(on)
        if known is None or any(one is not other for one, other in zip(known[0], parts, strict=True)):
            if len(self._together) >= MOST_TOGETHER:
                self._together.clear()
            known = self._together[on] = (parts, _merged(parts))
        return known[1]


def _merged(parts: Iterable[Virtuals]) -> Virtuals:
    found: dict[Address, Virtual] = {}
    for virtuals in parts:
        for address, virtual in virtuals.items():
            other = found.get(address)
            if other is not None:
                active = other.backends | virtual.backends
                virtual = Virtual(address, active, (other.leaving | virtual.leaving) - active)
            found[address] = virtual
    return found
