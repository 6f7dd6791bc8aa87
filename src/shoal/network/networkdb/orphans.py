"""Entries that came before the word that their owner is on the network. They wait a moment for it.

Table events and network events go different ways, so this is common when a node's first task on a network starts.
Docker drops such entries, and a bulk sync brings them half a minute later.
"""

from collections import OrderedDict

from shoal.network.networkdb.queues import PACKET

KEPT = 10.0  # a network event has reached everybody by then
MOST = 2048  # events; the oldest are dropped, and come by bulk sync


class Orphans:
    """Events by network and owner."""

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[str, str, bytes], tuple[float, bool]] = OrderedDict()
        self._of: dict[tuple[str, str], dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._events)

    def keep(self, network: str, owner: str, message: bytes, bulk: bool, now: float) -> None:
        """Keep an event, once; a longer one than a packet came by bulk sync, and comes again."""
        event = (network, owner, message)
        if event in self._events or len(message) > PACKET:
            return
        if len(self._events) >= MOST:
            self._drop(next(iter(self._events)))
        self._events[event] = (now, bulk)
        self._of.setdefault((network, owner), {})[message] = None

    def take(self, network: str, owner: str) -> list[tuple[bytes, bool]]:
        """Return the events of an owner in the order that they came, and whether by bulk sync; they are forgotten."""
        messages = self._of.pop((network, owner), {})
        return [(message, self._events.pop((network, owner, message))[1]) for message in messages]

    def reap(self, now: float) -> None:
        """Forget those that waited long enough."""
        while self._events:
            event, (since, _) = next(iter(self._events.items()))
            if since + KEPT > now:
                break
            self._drop(event)

    def _drop(self, event: tuple[str, str, bytes]) -> None:
        network, owner, message = event
        del self._events[event]
        rest = self._of[network, owner]
        del rest[message]
        if not rest:
            del self._of[network, owner]
