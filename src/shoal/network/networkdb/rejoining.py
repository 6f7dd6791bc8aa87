"""Whom a node calls that has lost others, or has nobody yet (known fault 9). Memberlist calls nobody by itself.

Pure. Source: gossip.md 2.8 and 5.3.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from shoal.network.networkdb.members import Members

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

Contact = tuple[str, int]  # address and port

RECONNECT_EVERY = 1.0  # one of the failed nodes, Docker's
CHECK_EVERY = 60.0  # whether any manager is here, Docker's
ALONE_EVERY = 5.0  # the same for a node that nobody is there for; Docker makes no difference
MOST_CONTACTS = 64  # a swarm has few managers


def contacts_of(addresses: Iterable[str], port: int, own: str) -> tuple[Contact, ...]:
    """Return whom these addresses of managers mean, each once; whatever is none, and this node's own, is left out."""
    found: dict[Contact, None] = {}
    for text in addresses:
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            continue
        if address != own and len(found) < MOST_CONTACTS:
            found[address, port] = None
    return tuple(found)


class Rejoining:
    """Calls failed nodes, and managers if none is among the members."""

    def __init__(self, contacts: tuple[Contact, ...], now: float) -> None:
        self.contacts = contacts
        self._reconnect_at = now
        self._check_at = now

    def next(self, members: Members) -> float:
        """Return when `due` is to be called."""
        check = self._check_time(members) if self.contacts else float("inf")
        return min(check, self._reconnect_at) if len(members.failed) else check

    def due(self, members: Members, rng: Random, now: float) -> list[Contact]:
        """Return whom to call now."""
        called: list[Contact] = []
        if len(members.failed) and now >= self._reconnect_at:
            self._reconnect_at = now + RECONNECT_EVERY
            for name in members.failed.sample(1, rng, lambda _name: True):
                node = members.get(name)
                if node is not None:
                    called.append((node.address, node.port))
        if self.contacts and now >= self._check_time(members):
            self._check_at = now + CHECK_EVERY
            if not any(members.at(*contact) for contact in self.contacts):
                called += [contact for contact in self.contacts if contact not in called]
        return called

    def _check_time(self, members: Members) -> float:
        """When the managers are looked for next: the earlier the fewer members there are."""
        if len(members.active):
            return self._check_at
        return self._check_at - CHECK_EVERY + ALONE_EVERY
