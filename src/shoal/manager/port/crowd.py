"""Limits the number of peers, and chooses which one goes when there are too many. Pure.

If newcomers were refused, somebody who holds connections open could keep everybody else out. So a newcomer is let in,
and another peer goes for it: the oldest one of the host that has most. A node that identifies itself within a moment
never has to go, unless its own host floods the port.
"""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Crowd(Generic[Member]):
    """Has at most `limit` members, and at most `per_host` from one host.

    `enter` looks at every host when the crowd is full.
    """

    def __init__(self, limit: int, per_host: int | None = None) -> None:
        self._limit = limit
        self._per_host = per_host if per_host is not None else limit
        self._hosts: dict[Member, str] = {}
        self._of_host: dict[str, dict[Member, None]] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._hosts)

    def enter(self, member: Member, host: str) -> Member | None:
        """Add a member. Return the member that has to go for it, if any; it is already removed."""
        gone = None
        if len(self._of_host.get(host, ())) >= self._per_host:
            gone = next(iter(self._of_host[host]))
            self.leave(gone)
        elif len(self._hosts) >= self._limit:
            crowded = max(self._of_host, key=lambda each: len(self._of_host[each]))
            gone = next(iter(self._of_host[crowded]))
            self.leave(gone)
        self._hosts[member] = host
        self._of_host.setdefault(host, {})[member] = None
        return gone

    def leave(self, member: Member) -> None:
        """Remove a member, if it is one."""
        host = self._hosts.pop(member, None)
        if host is None:
            return
        others = self._of_host[host]
        del others[member]
        if not others:
            del self._of_host[host]


def origin(address: str) -> str:
    """Return what identifies the host behind an address: the address, or for IPv6 its /64 network.

    An IPv6 host can use as many addresses of its network as it likes.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or found.exploded[:19])
