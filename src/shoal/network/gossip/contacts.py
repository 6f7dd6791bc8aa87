"""Whom to call so that this node is not alone: the managers, and members that failed.

Pure. Source: gossip.md 2.8 and 5.3; known-faults 9: a node that lost all others at once must go on trying.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from shoal.network.gossip.delegate import State

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from shoal.network.gossip.config import Config
    from shoal.network.gossip.members import Members

Place = tuple[str, int]

MAX_FAILED = 1024  # who failed first is given up first
MAX_CONTACTS = 64  # a swarm has few managers


class Contacts:
    """Whom, and when. `call` opens a push/pull with a place; it does nothing where one is under way."""

    def __init__(
        self, config: Config, members: Members, rng: random.Random, call: Callable[[Place, float], None], now: float
    ) -> None:
        self._config = config
        self._members = members
        self._rng = rng
        self._call = call
        self._contacts: tuple[Place, ...] = ()
        self._failed: dict[Place, float] = {}
        self._look_at = now + config.contact_interval * (0.5 + rng.random() / 2)
        self._reconnect_at = now + config.reconnect_interval * rng.random()

    def join(self, contacts: Sequence[str], now: float) -> None:
        """Call these from now on while none of them is a member that lives, and all of them at once.

        They are addresses; whatever is none, and this node's own, is left out.
        """
        found = []
        for contact in contacts[:MAX_CONTACTS]:
            try:
                address = str(ipaddress.ip_address(contact))
            except ValueError:
                continue
            if address != self._config.address:
                found.append((address, self._config.port))
        self._contacts = tuple(dict.fromkeys(found))
        for place in self._contacts:
            self._call(place, now)

    def failed(self, place: Place, now: float) -> None:
        """Call a member that failed, until it is back or has been gone for a day."""
        self._failed.pop(place, None)
        if len(self._failed) >= MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[place] = now

    def returned(self, place: Place) -> None:
        """Call a member no more: it is back, or has left."""
        self._failed.pop(place, None)

    def next_at(self) -> float:
        """Return when `tick` may have something to do."""
        return min(self._look_at, self._reconnect_at if self._failed else self._look_at)

    def tick(self, now: float) -> None:
        """Call whoever is due."""
        if self._members.is_leaving:
            self._look_at = now + self._config.contact_interval
            self._failed.clear()
            return
        if now >= self._look_at:
            self._look_at = now + self._config.contact_interval
            alive = {(record.member().address, record.port) for record in self._members if record.state == State.ALIVE}
            if not alive.intersection(self._contacts):
                for place in self._contacts:
                    self._call(place, now)
        if now >= self._reconnect_at:
            self._reconnect_at = now + self._config.reconnect_interval
            self._reconnect(now)

    def _reconnect(self, now: float) -> None:
        while self._failed:
            oldest = next(iter(self._failed))
            if now - self._failed[oldest] <= self._config.reconnect_for:
                break
            del self._failed[oldest]
        if self._failed:
            self._call(self._rng.choice(list(self._failed)), now)
