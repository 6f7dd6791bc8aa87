"""What managers tell of this node's networks, handed on to the host's: keys, contacts, this node's own addresses.

Pure but for whom it tells. In: session messages, of which each holds only what is new. Out: how this node takes part in
gossip, whole, and its addresses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shoal.agent.attachments import gossip, node_addresses
from shoal.api import v1 as api
from shoal.network.wanted import Gossip, Overlay, Trouble


class Overlays(Protocol):
    """network.overlays.Overlays, as far as a node uses it."""

    def set_gossip(self, gossip: Gossip | None) -> None: ...
    def set_node_addresses(self, addresses: Mapping[str, str], ingress: Overlay | None) -> None: ...
    async def leave(self) -> None: ...
    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]: ...
    def said_of(self, troubles: Iterable[Trouble]) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where this node is: addresses without ports; an empty `data_path` is the advertised one."""

    bind: str
    advertise: str
    data_path: str = ""
    vxlan_port: int = 0


class Networks:
    """Hears sessions."""

    def __init__(self, overlays: Overlays, place: Place) -> None:
        self._overlays = overlays
        self._place = place
        self._keys: Sequence[api.EncryptionKey] = ()
        self._managers: tuple[str, ...] = ()
        self._vxlan_port = place.vxlan_port

    def hear(self, message: api.SessionMessage) -> None:
        """Take in what a manager says."""
        if message.network_bootstrap_keys:
            self._keys = list(message.network_bootstrap_keys)
        if message.managers:
            self._managers = tuple(each.peer.addr for each in message.managers)
        if message.HasField("node"):
            self._vxlan_port = message.node.VXLANUDPPort or self._vxlan_port
            self._overlays.set_node_addresses(*node_addresses(message.node))
        place = self._place
        told = gossip(
            self._keys,
            bind=place.bind,
            advertise=place.advertise,
            data_path=place.data_path,
            vxlan_port=self._vxlan_port,
            managers=self._managers,
        )
        if told is not None:
            self._overlays.set_gossip(told)
