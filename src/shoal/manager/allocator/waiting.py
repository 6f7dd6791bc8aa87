"""Which items wait for what, so that freeing something only costs a look at the items that it can help.

Pure. An item is an object, or a node's place on a network. It waits for one key at a time. If it is woken and lacks
something else, it then waits for that. Whatever a task waits for, it is also found by a second key: if its service
changes or goes, it may no longer need that.
"""

from collections.abc import Hashable
from dataclasses import dataclass

Item = tuple[str, ...]  # (kind, id); for a node also the network
Key = tuple[Hashable, ...]

NEVER: Key = ("never",)  # only a change of the object itself can help
SUBNET: Key = ("subnet", 0)  # one of the default pools


def vni(number: int) -> Key:
    """Return the key of a VXLAN id. 0: any id."""
    return ("vni", number)


def removal(network_id: str) -> Key:
    """Return the key of a network that must be removed first."""
    return ("removal", network_id)


def address(network_id: str, bits: int) -> Key:
    """Return the key of any address of a network."""
    return ("address", network_id, bits)


def fixed_address(network_id: str, number: int) -> Key:
    """Return the key of one address."""
    return ("fixed", network_id, number)


def port(protocol: int, number: int) -> Key:
    """Return the key of a published port. 0: any port."""
    return ("port", protocol, number)


def network(network_id: str) -> Key:
    """Return the key of a network that exists and has what it needs. Empty: the ingress network."""
    return ("network", network_id)


def service(service_id: str) -> Key:
    """Return the key of a service that has what it needs."""
    return ("service", service_id)


def needs(service_id: str) -> Key:
    """Return the key of a service whose tasks now need other networks."""
    return ("needs", service_id)


@dataclass(frozen=True, slots=True)
class Lacking:
    """Something is missing: the reason, in words for users, and the key of what would help."""

    reason: str
    key: Key


class Waiting:
    """Items by their keys, the oldest first."""

    def __init__(self) -> None:
        self._items: dict[Key, dict[Item, None]] = {}
        self._lacks: dict[Item, Lacking] = {}
        self._keys: dict[Item, set[Key]] = {}

    def put(self, item: Item, lacking: Lacking, *also: Key) -> bool:
        """Let an item wait for this and nothing else, and be found by other keys `also`. Returns whether the reason is
        a new one.
        """
        before = self._lacks.get(item)
        keys = {lacking.key, *also}
        if self._keys.get(item) != keys:
            self.drop(item)
            for key in keys:
                self._items.setdefault(key, {})[item] = None
        self._lacks[item] = lacking
        self._keys[item] = keys
        return before is None or before.reason != lacking.reason

    def drop(self, item: Item) -> None:
        """Stop an item's wait."""
        self._lacks.pop(item, None)
        for key in self._keys.pop(item, ()):
            waiters = self._items[key]
            del waiters[item]
            if not waiters:
                del self._items[key]

    def lacks(self, item: Item) -> Lacking | None:
        """Return what an item lacks."""
        return self._lacks.get(item)

    def first(self, key: Key, count: int | None = None) -> list[Item]:
        """Return the first items that are found by a key, at most `count`."""
        waiters = self._items.get(key, {})
        if count is None or count >= len(waiters):
            return list(waiters)
        return [item for item, _ in zip(waiters, range(count), strict=False)]

    def __len__(self) -> int:
        return len(self._lacks)
