"""Which node is on which network, or was until lately."""

from collections.abc import Iterator
from dataclasses import dataclass

from shoal.network.networkdb.crowd import Crowd
from shoal.network.networkdb.messages import MOST_NETWORKS

_NOBODY = Crowd()

MOST_ATTACHMENTS = 200_000  # of all nodes: 500 nodes on 400 networks


@dataclass(slots=True)
class Attachment:
    """A node's record on a network."""

    l_time: int
    leaving: bool = False  # it has left; the record is kept so that no older event brings it back
    lost: bool = False  # when it left, live entries of it were here: they may have been written after it joined again


class Attachments:
    """The records of all nodes, this one included."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Attachment]] = {}
        self._on: dict[str, Crowd] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, str, Attachment]]:
        for node, networks in self._of.items():
            for network, attachment in networks.items():
                yield node, network, attachment

    def get(self, node: str, network: str) -> Attachment | None:
        """Return a node's record, which may say that it has left."""
        return self._of.get(node, {}).get(network)

    def has(self, node: str, network: str) -> bool:
        """Whether the node is on the network."""
        return network in self._on and node in self._on[network]

    def on(self, network: str) -> Crowd:
        """Return the nodes that are on a network."""
        return self._on.get(network, _NOBODY)

    def of(self, node: str) -> dict[str, Attachment]:
        """Return a node's records by network."""
        return self._of.get(node, {})

    def room_for(self, node: str) -> bool:
        """Whether this node may have one more record."""
        return self._count < MOST_ATTACHMENTS and len(self._of.get(node, ())) < MOST_NETWORKS

    def set(self, node: str, network: str, l_time: int, leaving: bool = False, lost: bool = False) -> None:
        """Write a node's record."""
        networks = self._of.setdefault(node, {})
        if network not in networks:
            self._count += 1
        networks[network] = Attachment(l_time, leaving, lost)
        if leaving:
            self._off(node, network)
        else:
            self._on.setdefault(network, Crowd()).add(node)

    def remove(self, node: str, network: str) -> None:
        """Forget a record, if it is there."""
        networks = self._of.get(node)
        if networks is None or networks.pop(network, None) is None:
            return
        self._count -= 1
        if not networks:
            del self._of[node]
        self._off(node, network)

    def _off(self, node: str, network: str) -> None:
        crowd = self._on.get(network)
        if crowd is not None:
            crowd.discard(node)
            if not len(crowd):
                del self._on[network]
