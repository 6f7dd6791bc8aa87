"""Lets IPv6 clients of a host's port be seen by their own addresses, where the container's program listens on IPv6.

In: where ports lead; out: which of them lead to a container's own address of IPv6, which it then has. A container gets
one, and the bridge, once a program in it is seen to listen; all others stay without. Blocking; the bridge's thread uses
it. The packet rules that keep containers from everything else stand before (`translation/rules`).
"""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import rtnetlink
from shoal.network.host_ports import listeners
from shoal.network.host_ports.ports import Lead, Leads, Published
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.sysctls import set_sysctl

log = logging.getLogger(__name__)

_EVERYWHERE = IPv6Network("::/0")
# By this a bridge asks who has an address, when it forwards for others.
_OF_THE_LINK = IPv6Interface("fe80::1/64")
# Nobody's word on routes is taken, and there is no address but the one that is given.
_SETTINGS = (("accept_ra", "0"), ("accept_redirects", "0"), ("autoconf", "0"), ("addr_gen_mode", "1"))


def gateway6(prefix: IPv6Network) -> IPv6Address:
    """Return the bridge's own address."""
    return prefix[1]


def address6(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """Return the address of IPv6 of a container on the bridge: its other one, in other words."""
    return prefix[int(address)]


class Direct:
    """The containers of one bridge that have addresses of IPv6."""

    def __init__(self, bridge: str, prefix: IPv6Network, netns_of: Callable[[str], Path]) -> None:
        self.bridge = bridge
        self.prefix = prefix
        self._netns_of = netns_of
        self._namespaces: Namespaces | None = None
        self._has: set[str] = set()  # containers
        self._cannot: set[str] = set()  # containers

    def close(self) -> None:
        """Close what is open here; addresses stay."""
        if self._namespaces is not None:
            self._namespaces.close()
            self._namespaces = None

    def look(self, leads: Leads) -> dict[Published, tuple[IPv6Address, int]]:
        """Return the ports that lead to programs which listen on IPv6, each with where that is."""
        containers = {lead.container for lead in leads.values()}
        self._has &= containers
        self._cannot &= containers
        found: dict[Published, tuple[IPv6Address, int]] = {}
        for container in containers - self._cannot:
            mine = {port: lead for port, lead in leads.items() if lead.container == container}
            try:
                with self._inside(container) as there:
                    heard = [port for port, lead in mine.items() if self._listens(port, lead)]
                    if heard and container not in self._has:
                        self._give(container, mine[heard[0]].address, there)
            except (OSError, ShoalError) as error:
                log.debug("%s: IPv6 clients of its ports are seen as this host: %s", container[:12], error)
                continue
            if container in self._has:
                found |= {port: (address6(self.prefix, mine[port].address), mine[port].target) for port in heard}
        return found

    def remove(self) -> None:
        """Take IPv6 away from the bridge; a container's goes with it. May be repeated."""
        self._has.clear()
        self._cannot.clear()
        with suppress(ShoalError):  # the bridge is gone, or this kernel has no IPv6
            set_sysctl(f"ipv6/conf/{self.bridge}/disable_ipv6", "1")

    @contextmanager
    def _inside(self, container: str) -> Iterator[NetlinkSocket]:
        if self._namespaces is None:
            self._namespaces = Namespaces()
        with (
            self._netns_of(container).open("rb") as netns,
            self._namespaces.inside(netns.fileno()),
            NetlinkSocket() as there,
        ):
            yield there

    def _listens(self, port: Published, lead: Lead) -> bool:
        asked = listeners.ask(port[0], address6(self.prefix, lead.address), lead.target)
        if asked is None:
            return False
        with NetlinkSocket(diagnosis=True) as kernel:
            try:
                return listeners.listens(port[0], kernel.run(asked))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                return False

    def _give(self, container: str, address: IPv4Address, there: NetlinkSocket) -> None:
        """Give a container its address, its way back to clients, and before it the bridge its own."""
        self._cannot.add(container)  # unless all of it is done
        own = rtnetlink.addresses(there.run(rtnetlink.list_addresses()))
        indexes = {index for index, one in own if one == address}
        link = next((one for one in rtnetlink.links(there.run(rtnetlink.list_links())) if one.index in indexes), None)
        if link is None:  # it is going, or its program took the address away
            raise ShoalError(f"it has no interface with {address}")
        for name, value in (*_SETTINGS, ("disable_ipv6", "0")):
            set_sysctl(f"ipv6/conf/{link.name}/{name}", value)
        mine = address6(self.prefix, address)
        if mine not in {one for _, one in own}:  # else it was given by the last run
            there.run(rtnetlink.add_address(link.index, IPv6Interface((mine, self.prefix.prefixlen))))
            try:
                there.run(rtnetlink.add_route(_EVERYWHERE, gateway6(self.prefix)))
            except OSError:  # it has another way out, by an overlay: answers would go there
                set_sysctl(f"ipv6/conf/{link.name}/disable_ipv6", "1")
                raise
        self._cannot.discard(container)
        self._has.add(container)

    def open_bridge(self) -> None:
        """Give the bridge its address, by which containers answer clients. May be repeated. OSError, ShoalError."""
        for name, value in (*_SETTINGS, ("disable_ipv6", "0")):
            set_sysctl(f"ipv6/conf/{self.bridge}/{name}", value)
        with NetlinkSocket() as kernel:
            link = kernel.link(self.bridge)
            if link is None:
                raise ShoalError(f"the bridge {self.bridge} is gone")
            for address in (_OF_THE_LINK, IPv6Interface((gateway6(self.prefix), self.prefix.prefixlen))):
                try:
                    kernel.run(rtnetlink.add_address(link.index, address))
                except OSError as error:
                    if error.errno != errno.EEXIST:
                        raise
