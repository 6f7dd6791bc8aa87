"""Who waits for what, so that something freed costs as much as it helps, and not a look at everyone.

Pure. What waits is an object, or a node's place on a network; what it waits for is one key at a time: whoever is woken
and lacks something else then waits for that.
"""

from collections.abc import Hashable
from dataclasses import dataclass

Item = tuple[str, ...]  # (kind, id), and for a node its network
Key = tuple[Hashable, ...]

NEVER: Key = ("never",)  # only a change of the object itself helps
SUBNET: Key = ("subnet", 0)  # one of the default pools


def vni(number: int) -> Key:
    """Return the key of a VXLAN id; 0 for whichever."""
    return ("vni", number)


def removal(network_id: str) -> Key:
    """Return the key of a network that has to go first."""
    return ("removal", network_id)


def address(network_id: str, bits: int) -> Key:
    """Return the key of an address of a network, whichever."""
    return ("address", network_id, bits)


def fixed_address(network_id: str, number: int) -> Key:
    """Return the key of one address."""
    return ("fixed", network_id, number)


def port(protocol: int, number: int) -> Key:
    """Return the key of one published port; 0 for whichever."""
    return ("port", protocol, number)


def network(network_id: str) -> Key:
    """Return the key of a network that is there and has what it needs. Empty: ingress, whichever that is."""
    return ("network", network_id)


def service(service_id: str) -> Key:
    """Return the key of a service that has what it needs."""
    return ("service", service_id)


@dataclass(frozen=True, slots=True)
class Lacking:
    """Something could not be had: why, in words for people, and what would help."""

    reason: str
    key: Key


class Waiting:
    """Items by the key that they wait for, those that came first in front."""

    def __init__(self) -> None:
        self._items: dict[Key, dict[Item, None]] = {}
        self._lacks: dict[Item, Lacking] = {}

    def put(self, item: Item, lacking: Lacking) -> bool:
        """Let an item wait for this and nothing else. Returns whether the reason is a new one."""
        before = self._lacks.get(item)
        if before is None or before.key != lacking.key:
            self.drop(item)
            self._items.setdefault(lacking.key, {})[item] = None
        self._lacks[item] = lacking
        return before is None or before.reason != lacking.reason

    def drop(self, item: Item) -> None:
        """Let an item wait no more."""
        lacking = self._lacks.pop(item, None)
        if lacking is not None:
            waiters = self._items[lacking.key]
            del waiters[item]
            if not waiters:
                del self._items[lacking.key]

    def lacks(self, item: Item) -> Lacking | None:
        """Return what an item waits for."""
        return self._lacks.get(item)

    def first(self, key: Key, count: int | None = None) -> list[Item]:
        """Return those that wait for a key, at most `count` of them."""
        waiters = self._items.get(key, {})
        if count is None or count >= len(waiters):
            return list(waiters)
        return [item for item, _ in zip(waiters, range(count), strict=False)]

    def __len__(self) -> int:
        return len(self._lacks)
