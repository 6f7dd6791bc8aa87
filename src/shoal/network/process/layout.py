"""How this node's overlays are to look in the kernel, and what stands in the way of one. Pure.

In: what is wanted, who is attached, what others told. Out: a state for each overlay, made anew only where it may
differ.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.network.directory import Directory
from shoal.network.kernel.state import Made, OverlayState
from shoal.network.process.differences import Attached
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Trouble


@dataclass(frozen=True, slots=True)
class Underlay:
    """What carries all overlays. With another one, all are made anew."""

    node: str
    """This node's name in gossip."""
    local: Address
    """Where packets to other nodes leave from."""
    vxlan_port: int
    path_mtu: int
    cannot_encrypt: str
    """Why this host cannot; empty where it can."""


class Layout:
    """The wanted kernel states of this node's overlays."""

    def __init__(self, directory: Directory, attached: Attached) -> None:
        self._directory, self._attached = directory, attached
        self._made: dict[str, Made] = {}
        self.states: dict[str, OverlayState] = {}
        """By network; without those that cannot be made."""
        self._troubles: dict[str, list[Trouble]] = {}

    def troubles(self, network: str | None = None) -> list[Trouble]:
        """Return what stands in the way of a network, or of all."""
        if network is not None:
            return self._troubles.get(network, [])
        return [trouble for found in self._troubles.values() for trouble in found]

    def update(
        self,
        overlays: Iterable[Overlay],
        underlay: Underlay,
        networks: Collection[str],
        told: Collection[tuple[str, Address]] = (),
    ) -> bool:
        """Say anew how these `networks` are to look; return whether one of them is to look otherwise.

        `overlays` are all that are wanted. `told` are the networks' addresses of which others have told since the last
        time.
        """
        # Ingress is the mesh's to make, once ports are published.
        made = {overlay.id: overlay for overlay in overlays if not overlay.ingress}
        for network in self._made.keys() - made.keys():
            del self._made[network]
            self.states.pop(network, None)
            self._troubles.pop(network, None)
        addresses: dict[str, list[Address]] = {}
        for network, address in told:
            addresses.setdefault(network, []).append(address)
        former: Mapping[str, OverlayState] = dict(self.states)
        for network in networks:
            if (overlay := made.get(network)) is not None:
                self._update_one(overlay, underlay, addresses.get(network, ()))
        return any(self.states.get(network) is not former.get(network) for network in networks)

    def _update_one(self, overlay: Overlay, underlay: Underlay, told: Iterable[Address]) -> None:
        made = self._made.setdefault(overlay.id, Made())
        try:
            self.states[overlay.id], self._troubles[overlay.id] = made.state(
                overlay,
                self._attached.endpoints(overlay.id),
                self._directory.neighbours(overlay.id),
                told,
                local=underlay.local,
                vxlan_port=underlay.vxlan_port,
                path_mtu=underlay.path_mtu,
                cannot_encrypt=underlay.cannot_encrypt,
            )
        except (InvalidArgument, FailedPrecondition) as error:
            self._made[overlay.id] = Made()  # it may have missed what was told
            self.states.pop(overlay.id, None)
            self._troubles[overlay.id] = [Trouble(overlay.id, "", str(error))]
