"""What the bridge network does to the kernel: the bridge, its packet rules, veth pairs. Blocking; one thread uses it.

In: names, a subnet, addresses. Decides nothing about who gets which address. The order in each method is such that
what is half done is found and removed by the next call.
"""

import errno
import logging
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import nft_program, rtnetlink, rules
from shoal.network.addresses import gateway, mac_address, name_servers
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.sysctls import set_sysctl
from shoal.network.translation import translated
from shoal.network.translation.places import devices
from shoal.network.wanted import Protocol

log = logging.getLogger(__name__)

INSIDE = "eth0"


def used_networks(host: NetlinkSocket, but: Collection[int] = ()) -> list[IPv4Network]:
    """Return what a new subnet must not overlap: a host's routes but for some interfaces', and its name servers."""
    routes = rtnetlink.routes(host.run(rtnetlink.list_routes()))
    networks = [route.destination for route in routes if route.interface not in but]
    try:
        networks += name_servers(Path("/etc/resolv.conf").read_text(errors="replace"))
    except OSError:
        pass  # without the file there are no name servers to keep clear of
    return networks


class Plumbing:
    """One bridge and one nftables table of the namespace in which it was made."""

    def __init__(self, bridge: str, table: str, alias: str = "") -> None:
        """`alias`: whose the bridge is, for people and for other daemons."""
        self._bridge = bridge
        self._alias = alias
        self._table = table
        self._index = 0
        self._subnet: IPv4Network | None = None  # while the rules stand
        self._closed_ports: set[int] = set()
        self._vxlan_port = rules.VXLAN_PORT
        self._written = ""  # what nft then listed
        self._socket = NetlinkSocket()
        self._namespaces = Namespaces()

    def close(self) -> None:
        """Close what is open here; the kernel's side stays."""
        self._namespaces.close()
        self._socket.close()

    def used_networks(self) -> list[IPv4Network]:
        """Return what a new subnet must not overlap: the host's routes but for our own, and its name servers."""
        ours = (self._bridge, *devices(self._bridge.removeprefix("shoal")))
        return used_networks(self._socket, but={link.index for link in self.links() if link.name in ours})

    def find_bridge(self, subnet: IPv4Network) -> bool:
        """Take the last run's bridge as it is, with whoever is on it, and mend its address and rules.

        Not even a route that now overlaps its subnet is a reason to cut off containers that run.
        """
        bridge = self._socket.link(self._bridge)
        if bridge is None:
            return False
        self._index = bridge.index
        self._socket.run(rtnetlink.keep_mac(bridge))
        self._give_address(subnet)
        self._open_way_out(subnet)
        return True

    def make_bridge(self, subnet: IPv4Network) -> bool:
        """Make the bridge anew, with its address and rules. False when the subnet turned out to be another's; then it
        is gone again."""
        if stale := self._socket.link(self._bridge):
            self._socket.delete_link(stale.index)
        tag = self._bridge.removeprefix("shoal")
        for device, table in zip(devices(tag), (f"{self._table}_ports", f"shoal_{tag}_mesh"), strict=True):
            translated.remove(table, device, self._nft)
        self._socket.run(rtnetlink.add_bridge(self._bridge))
        bridge = self._socket.link(self._bridge)
        if bridge is None:
            raise ShoalError(f"the bridge {self._bridge} is gone as soon as it was made")
        self._index = bridge.index
        self._socket.run(rtnetlink.keep_mac(bridge))
        if Path(f"/proc/sys/net/ipv6/conf/{self._bridge}").exists():
            set_sysctl(f"ipv6/conf/{self._bridge}/disable_ipv6", "1")
        self._give_address(subnet)
        # Another node on this host may have chosen at the same moment: the older bridge keeps the subnet.
        for route in rtnetlink.routes(self._socket.run(rtnetlink.list_routes())):
            if route.destination.overlaps(subnet) and 0 < route.interface < bridge.index:
                self._socket.delete_link(bridge.index)
                return False
        self._open_way_out(subnet)
        return True

    def _nft(self, text: str) -> str:
        nft_program.write(text, self._bridge)
        return ""

    def links(self) -> list[rtnetlink.Link]:
        """Return all interfaces of the host."""
        return rtnetlink.links(self._socket.run(rtnetlink.list_links()))

    def _give_address(self, subnet: IPv4Network) -> None:
        if len(self._alias.encode(errors="surrogateescape")) <= rtnetlink.ALIAS_BYTES:
            self._socket.run(rtnetlink.set_alias(self._index, self._alias))
        try:
            self._socket.run(
                rtnetlink.set_up(self._index),
                rtnetlink.add_address(self._index, IPv4Interface((gateway(subnet), subnet.prefixlen))),
            )
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def _open_way_out(self, subnet: IPv4Network) -> None:
        self._subnet = subnet
        self._write_rules()
        set_sysctl("ipv4/ip_forward", "1")

    def close_port(self, port: int) -> None:
        """Let no container reach a port of this host. May be repeated."""
        self._set_closed({*self._closed_ports, port})

    def open_port(self, port: int) -> None:
        """Undo `close_port`."""
        self._set_closed(self._closed_ports - {port})

    def _set_closed(self, ports: set[int]) -> None:
        self._closed_ports = ports
        self._write_rules()

    def close_vxlan(self, port: int) -> None:
        """Let no container reach this UDP port of any host, which the swarm uses for VXLAN."""
        if port != self._vxlan_port:
            self._vxlan_port = port
            self._write_rules()

    def _write_rules(self) -> None:
        if self._subnet is not None:
            ports, vxlan = self._closed_ports, self._vxlan_port
            text = rules.bridge_rules(self._table, self._bridge, self._subnet, ports, vxlan)
            nft_program.write(text, self._bridge)
            self._written = nft_program.listing("ip", self._table)

    def mend(self) -> None:
        """Write the rules again where they are not as they were written."""
        if self._subnet is not None and nft_program.listing("ip", self._table) != self._written:
            log.warning("somebody has changed the rules of %s in nftables: they are written again", self._bridge)
            self._write_rules()

    def ports_of_nodes(self) -> frozenset[tuple[Protocol, int]]:
        """Return the ports by which nodes speak to each other, which are no containers'."""
        gossip, vxlan = rules.GOSSIP_PORT, (rules.VXLAN_PORT, self._vxlan_port)
        return frozenset({("tcp", gossip), ("udp", gossip), ("udp", vxlan[0]), ("udp", vxlan[1])})

    def connect(
        self, path: Path, veth: str, address: IPv4Address, subnet: IPv4Network, inside_name: str = INSIDE
    ) -> None:
        """Make the namespace `path` and plug it into the bridge. After an error nothing is left."""
        try:
            with self._namespaces.create(path) as inside, path.open("rb") as netns:
                self._add_veth(
                    rtnetlink.add_veth(veth, self._index, inside_name, mac_address(address), netns.fileno()), veth
                )
                link = inside.link(inside_name)
                if link is None:
                    raise ShoalError(f"the interface {inside_name} is gone as soon as it was made")
                inside.run(
                    rtnetlink.set_up(1),
                    rtnetlink.add_address(link.index, IPv4Interface((address, subnet.prefixlen))),
                    rtnetlink.set_up(link.index),
                    rtnetlink.add_default_route(gateway(subnet)),
                )
        except OSError as error:
            self.disconnect(path)
            raise ShoalError(f"cannot connect to the bridge {self._bridge}: {error.strerror}") from error
        except ShoalError:
            self.disconnect(path)
            raise

    def _add_veth(self, request: rtnetlink.Request, veth: str) -> None:
        try:
            self._socket.run(request)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            # Left by an earlier connect of the same container, whose namespace the kernel has not yet cleaned up.
            leftover = self._socket.link(veth)
            if leftover and leftover.master == self._index:
                self._socket.run(rtnetlink.delete_link(leftover.index))
            self._socket.run(request)

    def isolate(self, path: Path) -> None:
        """Make the namespace `path` with a loopback and nothing else."""
        with self._namespaces.create(path) as inside:
            inside.run(rtnetlink.set_up(1))

    def disconnect(self, path: Path) -> None:
        """Unpin a namespace. With its last process gone, the kernel removes it and its veth pair by itself, many at a
        time; removing the pair here would wait 10 ms and more for a grace period, each."""
        self._namespaces.remove(path)

    def pinned(self, path: Path) -> bool:
        """Return whether the namespace is there."""
        return self._namespaces.pinned(path)

    def in_use(self, paths: Sequence[Path]) -> set[Path]:
        """Return those whose namespace a process is in."""
        return self._namespaces.in_use(paths)

    def address(self, path: Path) -> IPv4Address | None:
        """Return which address a namespace has on the bridge; None where it has none."""
        if self._subnet is None:
            return None
        # One that is on overlays has theirs first.
        found = self._namespaces.addresses(path)
        return next((address for address in found if address in self._subnet), None)

    def remove_ports(self, keep: Sequence[str]) -> None:
        """Remove the veth pairs of our bridge that are not in `keep`."""
        for link in self.links():
            if self._index and link.master == self._index and link.name not in keep:
                self._socket.delete_link(link.index)

    def remove(self) -> None:
        """Remove the bridge, what is plugged into it, and the rules. May be repeated."""
        bridge = self._socket.link(self._bridge)
        if bridge:
            self._index = bridge.index
            self.remove_ports(())
            self._socket.delete_link(bridge.index)
        self._subnet = None
        nft_program.write(rules.remove_rules(self._table), self._bridge)
