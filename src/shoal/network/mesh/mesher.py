"""Makes the routing mesh of this node as it is wanted. Blocking; the thread of `namespaces` uses it, in the host's.

Each part is compared with what the kernel has, is added before anything is removed, and may be repeated.
"""

import errno
import os
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path
from random import Random

from shoal.errors import FailedPrecondition, ShoalError
from shoal.json_text import read_json
from shoal.network import neighbours as tables
from shoal.network import nft_messages, policy, rtnetlink
from shoal.network.balancing import ending, flows
from shoal.network.balancing.flows import Endings
from shoal.network.kernel.nftables import Nftables, Refused
from shoal.network.kernel.observed import alias
from shoal.network.mesh import routing, rules
from shoal.network.mesh.rules import PublishedPort
from shoal.network.mesh.state import LEAST_PREFIX, MARK, MARKS, Mesh
from shoal.network.neighbours import Forwarding, Neighbour
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Request
from shoal.network.sysctls import set_sysctl

# Without any address on the device, a strict or loose check of sources drops everything that comes.
_INNER = IPv4Interface("169.254.90.90/32")
_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV)


class Mesher:
    """The mesh of one node."""

    def __init__(self, nftables: Nftables, rng: Random) -> None:
        self._nftables = nftables
        self._rng = rng
        self._socket = NetlinkSocket()
        self._hairpin_ports: set[int] = set()
        self._netfilter = NetlinkSocket(netfilter=True)
        self._written: Mesh | None = None
        self._listed = ""  # what nft then showed
        self.refused = ""
        """What the kernel did not take of other nodes' entries at the last `apply`; the rest of the mesh stands."""
        self._generation = -1  # of all packet rules of the host, when these were known to stand

    def close(self) -> None:
        """Close what is open here; the mesh stays."""
        self._netfilter.close()
        self._socket.close()

    def apply(self, mesh: Mesh) -> None:
        """Make it so. OSError, ShoalError. What is refused of others' entries is in `refused`."""
        self.refused = ""
        if mesh.own.network.prefixlen < LEAST_PREFIX:
            raise FailedPrecondition(f"ingress network {mesh.own.network} is too large for the routing mesh")
        index = self._device(mesh)
        set_sysctl(f"ipv4/conf/{mesh.bridge}/route_localnet", "1")
        self._hairpins(mesh.bridge)
        self._peers(mesh, index)
        self._routing(mesh, index)
        if not self._stands(mesh):
            known = self._known(mesh.table)
            self._nftables.run(rules.rules(mesh, known, self._rng))
            self._end_flows(mesh, known)
            self._generation = self._rules_generation()
            self._listed = self._listing(mesh.table)
            self._written = mesh if self._listed else None  # flushed in this moment

    def _stands(self, mesh: Mesh) -> bool:
        """Return whether the packet rules are as this mesh wants them; listed only after somebody changed any."""
        if self._written != mesh:
            return False
        now = self._rules_generation()
        if (now != self._generation or not now) and self._listing(mesh.table) != self._listed:
            return False
        self._generation = now
        return True

    def _rules_generation(self) -> int:
        return nft_messages.generation(self._netfilter.run(nft_messages.get_generation()))

    def remove(self, tag: str) -> None:
        """Remove a node's mesh. May be repeated."""
        table, device = f"shoal_{tag}_mesh", f"vxi{tag}"
        # The device is the first that is made and the last that goes: without it there is nothing, and rules of routing
        # are those of another node on this host.
        link = self._socket.link(device)
        if link or self._written:
            self._nftables.run(rules.remove(table))
        if self._written:
            nothing = replace(self._written, published={}, here=frozenset(), peers={})
            self._end_flows(nothing, set(self._written.published))
        self._written = None
        if link:
            there = routing.ours(policy.rules(self._socket.run(policy.list_rules())))
            self._try([policy.delete_rule(rule) for rule in there], _GONE)
            self._try([rtnetlink.delete_link(link.index)], _GONE)

    def _end_flows(self, mesh: Mesh, known: set[PublishedPort]) -> None:
        """Let the rules count for flows that began before them.

        A long-lived flow of UDP to a task that is gone finds a living one, TCP hears at once. A flow of UDP to a port
        that was not published, or is no longer, is remembered with where it led.
        """
        if self._written:
            gone = set(self._written.alive() - mesh.alive())
        else:  # who was there when another process wrote the rules, and is there no more
            with NetlinkSocket(netfilter=True) as conntrack:
                gone = flows.answering(conntrack.run(flows.list_marked(MARK, MARKS))) - mesh.alive()
        endings = Endings(answered=gone)
        changed = [(protocol, port) for protocol, port in known ^ mesh.published.keys() if protocol != "tcp"]
        if changed:
            own = rtnetlink.addresses(self._socket.run(rtnetlink.list_addresses()))
            four = {address for _, address in own if address.version == 4}
            begun = {(protocol, one, port) for protocol, port in changed for one in four}
            endings = Endings(answered=gone, begun=begun)
        with NetlinkSocket(netfilter=True) as conntrack:
            ending.end(conntrack, endings)

    def _device(self, mesh: Mesh) -> int:
        mark = alias(mesh.tag, f"{mesh.vni} {mesh.local}:{mesh.vxlan_port} {mesh.own}")
        link = self._socket.link(mesh.device)
        if link and link.up and link.alias == mark:
            if link.mtu != mesh.mtu:
                self._socket.run(rtnetlink.set_mtu(link.index, mesh.mtu))
            return link.index
        if link:
            self._socket.run(rtnetlink.delete_link(link.index))
        self._written = None  # a table at a device goes with it
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._socket.run(
                rtnetlink.add_vxlan(mesh.device, home, mesh.vni, mesh.local, mesh.vxlan_port, mesh.mtu, mac=mesh.mac)
            )
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            raise ShoalError(
                f"VXLAN id {mesh.vni} on port {mesh.vxlan_port} is in use by another device of this host"
            ) from error
        finally:
            os.close(home)
        if Path(f"/proc/sys/net/ipv6/conf/{mesh.device}").exists():
            set_sysctl(f"ipv6/conf/{mesh.device}/disable_ipv6", "1")
        for name, value in (("rp_filter", "2"), ("src_valid_mark", "1"), ("route_localnet", "1")):
            set_sysctl(f"ipv4/conf/{mesh.device}/{name}", value)
        link = self._socket.link(mesh.device)
        if link is None:
            raise ShoalError(f"the interface {mesh.device} is gone as soon as it was made")
        self._socket.run(rtnetlink.add_address(link.index, _INNER), rtnetlink.finish(link.index, mark))
        return link.index

    def _hairpins(self, bridge: str) -> None:
        """A task whose connection to a published port leads to itself: where bridges' packets pass the rules of IP
        (br_netfilter), they go back out of its port without being routed."""
        links = rtnetlink.links(self._socket.run(rtnetlink.list_links()))
        indexes = {link.index for link in links if link.name == bridge}
        ports = {link.index for link in links if link.master in indexes}
        self._try([rtnetlink.hairpin(port) for port in ports - self._hairpin_ports], _GONE)
        self._hairpin_ports = ports

    def _peers(self, mesh: Mesh, index: int) -> None:
        run = self._socket.run
        told = tables.neighbours(reply for request in tables.list_neighbours() for reply in run(request))
        there = {one for one in told if one.link == index}
        ways = {one for one in tables.forwarding(run(tables.list_forwarding())) if one.link == index}
        wanted = {Neighbour(index, address, mac) for address, (mac, _) in mesh.peers.items()}
        # Of two with one MAC the greater address says where it is, as in overlays.
        nodes = {mac: node for _, (mac, node) in sorted(mesh.peers.items())}
        wanted_ways = {Forwarding(index, mac, node) for mac, node in nodes.items()}
        self._try_others(
            [
                *((one.address, tables.set_neighbour(one)) for one in wanted - there),
                *((one.mac, tables.set_forwarding(one)) for one in wanted_ways - ways),
            ],
            (),
        )
        addresses, macs = set(mesh.peers), {mac for mac, _ in mesh.peers.values()}
        gone = [one.address for one in there if one.address not in addresses]
        lost = [one.mac for one in ways if one.mac not in macs]
        self._try_others(
            [
                *((address, tables.delete_neighbour(index, address)) for address in gone),
                *((mac, tables.delete_forwarding(index, mac, beyond=True)) for mac in lost),
            ],
            _GONE,
        )

    def _routing(self, mesh: Mesh, index: int) -> None:
        routes = set(policy.routes(self._socket.run(policy.list_routes()), index))
        rules_there = routing.ours(policy.rules(self._socket.run(policy.list_rules())))
        wanted, wanted_routes = routing.wanted_rules(mesh), routing.wanted_routes(mesh, index)
        missing = wanted_routes - routes
        self._try([policy.set_route(one) for one in missing if one.gateway is None], ())
        self._try_others([(one.gateway, policy.set_route(one)) for one in missing if one.gateway is not None], ())
        self._try([policy.add_rule(one) for one in wanted - rules_there], (errno.EEXIST,))
        self._try([policy.delete_rule(one) for one in rules_there - wanted], _GONE)
        self._try([policy.delete_route(one) for one in routes - wanted_routes], _GONE)

    def _try_others(self, requests: list[tuple[object, Request]], fine: tuple[int, ...]) -> None:
        """Try what other nodes have told. Whoever tells of what the kernel does not take ends no mesh of others."""
        errors = self._socket.try_all([request for _, request in requests])
        bad = [(of, number) for (of, _), number in zip(requests, errors, strict=True) if number and number not in fine]
        if bad and not self.refused:
            self.refused = f"{len(bad)} entries of other nodes are refused: {bad[0][0]}: {os.strerror(bad[0][1])}"

    def _try(self, requests: list[Request], fine: tuple[int, ...]) -> None:
        bad = [number for number in self._socket.try_all(requests) if number and number not in fine]
        if bad:
            raise ShoalError(f"the kernel refused {len(bad)} of {len(requests)} of the mesh: {os.strerror(bad[0])}")

    def _listing(self, table: str) -> str:
        """Return all of the tables as nft shows them; empty where one is not there."""
        try:
            return self._nftables.run(f"list table ip {table}") + self._nftables.run(f"list table netdev {table}")
        except Refused:
            return ""

    def _known(self, table: str) -> set[PublishedPort]:
        """Return the published ports that have chains."""
        try:
            listing = read_json(self._nftables.run(f"list table ip {table}", json=True))
        except Refused:
            return set()
        names = {item["chain"]["name"] for item in listing["nftables"] if "chain" in item}
        return {port for name in names if (port := rules.port_of(name)) is not None}
