"""Who gives way when more peers want in than may be there at once. Pure.

Refusing newcomers would let one who holds connections open keep everybody else out. So a newcomer is let in, and
somebody goes for it: the one that has been there longest, of those from the host that has most. A node that says who it
is within a moment is never it, unless its own host floods us.
"""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Crowd(Generic[Member]):
    """At most `limit` members, each from some host, and `per_host` from any.

    `enter` looks at every host once there are too many.
    """

    def __init__(self, limit: int, per_host: int | None = None) -> None:
        self._limit = limit
        self._per_host = per_host if per_host is not None else limit
        self._hosts: dict[Member, str] = {}
        self._of_host: dict[str, dict[Member, None]] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._hosts)

    def enter(self, member: Member, host: str) -> Member | None:
        """Let a member in; return who has to go for it, who is no member any more then."""
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
        """Forget a member; nothing happens where it is none."""
        host = self._hosts.pop(member, None)
        if host is None:
            return
        others = self._of_host[host]
        del others[member]
        if not others:
            del self._of_host[host]


def origin(address: str) -> str:
    """Return what stands for the host behind an address: of IPv6, where one host has as many as it likes, the net."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or found.exploded[:19])
