"""What node-local networks do to the kernel: bridges and their packet rules, veth pairs, macvlan. Blocking; one thread.

In: names and addresses. Each call may be repeated after having been broken off; a container's interface goes with its
namespace.
"""

import errno
import logging
import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import nft_program, rtnetlink, rules
from shoal.network.addresses import mac_address
from shoal.network.local.shape import MODES, Shape
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.plumbing import used_networks
from shoal.network.sysctls import set_sysctl

log = logging.getLogger(__name__)

# linux/if_link.h, MACVLAN_MODE_*, in the order of MODES
_MODES = dict(zip(MODES, (4, 1, 2, 8), strict=True))
# Of all bridges of ours but the host's own: the packet rules of that one are for "shoal*".
_PREFIX = "shoal-"


def bridge_name(network_id: str) -> str:
    """Return the name of a network's bridge on each host: as much of the id as fits."""
    return _PREFIX + network_id[:9]


@dataclass(frozen=True, slots=True)
class Place:
    """A container's interface in such a network. `veth`: its end on the bridge."""

    netns: Path
    interface: str
    address: IPv4Interface
    gateway: IPv4Address | None  # of its default route
    veth: str = ""


class LocalPlumbing:
    """The node-local networks of the namespace in which it was made. `alias`: whose the bridges are."""

    def __init__(self, tag: str, alias: str) -> None:
        self._tag = tag
        # The kernel keeps no longer one.
        self._written: dict[str, str] = {}  # by bridge: what nft listed of its rules then
        self._alias = os.fsdecode(os.fsencode(alias)[: rtnetlink.ALIAS_BYTES])
        self._socket = NetlinkSocket()
        self._namespaces = Namespaces()

    def close(self) -> None:
        """Close what is open here; the kernel's side stays."""
        self._namespaces.close()
        self._socket.close()

    def used_networks(self) -> list[IPv4Network]:
        """Return what a new subnet must not overlap."""
        return used_networks(self._socket)

    def bridges(self) -> list[str]:
        """Return the names of the bridges that this daemon made here."""
        links = rtnetlink.links(self._socket.run(rtnetlink.list_links()))
        return [link.name for link in links if link.name.startswith(_PREFIX) and link.alias == self._alias]

    def make_bridge(self, name: str, subnet: IPv4Network, gateway: IPv4Address, shape: Shape, vxlan_port: int) -> None:
        """Make a bridge with its address and rules, or mend what there is of it."""
        bridge = self._socket.link(name)
        if bridge is None:
            self._socket.run(rtnetlink.add_bridge(name, shape.mtu))
            bridge = self._link(name)
        elif bridge.alias not in ("", self._alias):  # without one it was not made to the end
            raise ShoalError(f"another program has an interface {name} on this host")
        if Path(f"/proc/sys/net/ipv6/conf/{name}").exists():
            set_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")
        self._socket.run(rtnetlink.keep_mac(bridge))
        self._write_rules(name, subnet, shape, vxlan_port)
        self._socket.run(rtnetlink.set_alias(bridge.index, self._alias), rtnetlink.set_up(bridge.index))
        try:
            self._socket.run(rtnetlink.add_address(bridge.index, IPv4Interface((gateway, subnet.prefixlen))))
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def mend(self, name: str, subnet: IPv4Network, shape: Shape, vxlan_port: int) -> None:
        """Write a bridge's rules again where they are not as they were written."""
        if nft_program.listing("ip", self.table(name)) != self._written.get(name):
            log.warning("somebody has changed the rules of %s in nftables: they are written again", name)
            self._write_rules(name, subnet, shape, vxlan_port)

    def _write_rules(self, name: str, subnet: IPv4Network, shape: Shape, vxlan_port: int) -> None:
        table = self.table(name)
        if shape.internal:
            text = rules.isolated_rules(table, name)
        else:
            text = rules.bridge_rules(table, name, subnet, (), vxlan_port)
        nft_program.write(text, name)
        self._written[name] = nft_program.listing("ip", table)

    def table(self, name: str) -> str:
        """Return the name of a bridge's table."""
        return f"shoal_{self._tag}_{name.removeprefix(_PREFIX)}"

    def remove_bridge(self, name: str) -> None:
        """Remove a bridge, what is plugged into it, and its rules. May be repeated."""
        links = rtnetlink.links(self._socket.run(rtnetlink.list_links()))
        bridge = next((link for link in links if link.name == name), None)
        if bridge is not None:
            for link in (*(port for port in links if port.master == bridge.index), bridge):
                self._socket.delete_link(link.index)
        nft_program.write(rules.remove_rules(self.table(name)), name)
        self._written.pop(name, None)

    def join_bridge(self, name: str, place: Place, mtu: int) -> None:
        """Plug a container into a bridge. OSError, ShoalError; nothing of it is left then."""
        bridge = self._link(name)
        leftover = self._socket.link(place.veth)
        if leftover is not None:  # of an earlier try, whose namespace the kernel has not yet cleaned up
            self._socket.delete_link(leftover.index)
        with place.netns.open("rb") as netns:
            mac = mac_address(place.address.ip)
            self._socket.run(
                rtnetlink.add_veth(place.veth, bridge.index, place.interface, mac, netns.fileno(), mtu=mtu)
            )
            self._fill(place, netns.fileno())

    def join_macvlan(self, place: Place, shape: Shape) -> None:
        """Give a container an interface on a card of this host. OSError, ShoalError."""
        parent = self._socket.link(shape.parent)
        if parent is None:
            raise ShoalError(f"the parent interface {shape.parent} does not exist on this node")
        with place.netns.open("rb") as netns:
            mac = mac_address(place.address.ip)
            request = rtnetlink.add_macvlan(
                place.interface, parent.index, _MODES[shape.mode], mac, netns.fileno(), mtu=shape.mtu
            )
            self._socket.run(request)
            self._fill(place, netns.fileno())

    def _fill(self, place: Place, netns: int) -> None:
        with self._namespaces.inside(netns):
            inside = NetlinkSocket()
        with inside:
            link = inside.link(place.interface)
            if link is None:
                raise ShoalError(f"the interface {place.interface} is gone as soon as it was made")
            way = [rtnetlink.add_default_route(place.gateway)] if place.gateway is not None else []
            inside.run(rtnetlink.add_address(link.index, place.address), rtnetlink.set_up(link.index), *way)

    def _link(self, name: str) -> rtnetlink.Link:
        link = self._socket.link(name)
        if link is None:
            raise ShoalError(f"the interface {name} is gone")
        return link
