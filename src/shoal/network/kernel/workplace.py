"""One overlay's network namespace: carries the steps of a plan out in it. Blocking; one thread uses it.

Each method is one step, ends with the mark of what it made, and may be repeated after having been broken off anywhere.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import neighbours as tables
from shoal.network import rtnetlink
from shoal.network.kernel import plan
from shoal.network.kernel.observed import CONDEMNED, alias, observe, port_mark
from shoal.network.kernel.state import Port, Seen
from shoal.network.namespaces import Namespaces
from shoal.network.neighbours import Forwarding, Neighbour
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Link, Request
from shoal.network.sysctls import set_sysctl

_DONE, _THERE, _GONE = 0, errno.EEXIST, (0, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH)
# Of a container's own, before its interface is given others: one that has made more is told so, and keeps what it has.
_MOST_ROUTES = 10_000


class RefusedPeers(ShoalError):
    """The kernel took some entries of other nodes not, and all others."""

    def __init__(self, refused: Mapping[plan.Entry, int]) -> None:
        """`refused`: the errno of each entry."""
        self.refused = refused
        super().__init__(f"the kernel refused {len(refused)} entries of other nodes")


class Workplace:
    """The namespace pinned at `path`, and a socket in it while it is open."""

    def __init__(self, path: Path, tag: str, namespaces: Namespaces, host: NetlinkSocket) -> None:
        """`host`: a socket in the namespace whose addresses the outer packets have."""
        self._path = path
        self._tag = tag
        self._namespaces = namespaces
        self._host = host
        self._socket: NetlinkSocket | None = None
        self._netns = -1
        self._indexes: dict[str, int] = {}

    def close(self) -> None:
        """Close what is open here; the namespace stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._netns >= 0:
            os.close(self._netns)
            self._netns = -1
        self._indexes.clear()

    def observe(self) -> Seen:
        """Read what there is."""
        self._indexes.clear()
        if not self._namespaces.pinned(self._path):
            self.close()
            return Seen()
        inside = self._inside
        return observe(
            self._tag,
            rtnetlink.links(inside.run(rtnetlink.list_links())),
            tables.neighbours(reply for request in tables.list_neighbours() for reply in inside.run(request)),
            tables.forwarding(inside.run(tables.list_forwarding())),
        )

    @property
    def _inside(self) -> NetlinkSocket:
        if self._socket is None:
            self._netns = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            with self._namespaces.inside(self._netns):
                self._socket = NetlinkSocket()
        return self._socket

    def carry_out(self, step: plan.Step) -> None:
        """Do one step. OSError and ShoalError."""
        match step:
            case plan.MakeNamespace():
                self._make_namespace(routed=step.routed)
            case plan.MakeSegment():
                self._make_segment(step)
            case plan.ResizeSegment():
                for name in (step.segment.bridge, step.segment.vxlan):
                    self._inside.run(rtnetlink.set_mtu(self._index(name), step.mtu))
            case plan.MakePort():
                self._make_port(step)
            case plan.ChangePort():
                self._change_port(step)
            case plan.SetPeers():
                self._set_peers(step)
            case plan.DropPeers():
                self._drop_peers(step)
            case plan.DropPorts():
                links = rtnetlink.links(self._inside.run(rtnetlink.list_links()))
                self._delete_all([link for link in links if link.name in step.names])
            case plan.DropSegment():
                self._delete(f"vx{step.vni}")
                self._delete(f"br{step.vni}")
            case plan.DropNamespace():
                self._drop_namespace()

    def _make_namespace(self, *, routed: bool) -> None:
        self.close()
        self._socket = self._namespaces.create(self._path)
        self._netns = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._socket.run(rtnetlink.set_up(1))
        if routed:
            with self._namespaces.inside(self._netns):
                set_sysctl("ipv4/ip_forward", "1")
                if Path("/proc/sys/net/ipv6").exists():
                    set_sysctl("ipv6/conf/all/forwarding", "1")

    def _make_segment(self, step: plan.MakeSegment) -> None:
        inside, segment = self._inside, step.segment
        six = any(gateway.version == 6 for gateway in segment.gateways)
        bridge = inside.link(segment.bridge)
        if bridge is None:
            inside.run(rtnetlink.add_bridge(segment.bridge, step.mtu))
            bridge = self._link(segment.bridge)
        elif bridge.mtu != step.mtu:
            inside.run(rtnetlink.set_mtu(bridge.index, step.mtu))
        inside.run(rtnetlink.keep_mac(bridge))
        index = self._index(segment.bridge)
        if six:
            self._allow_ipv6(segment.bridge)
        requests = [rtnetlink.set_up(index), *(rtnetlink.add_address(index, one) for one in segment.gateways)]
        self._check(requests, inside.try_all(requests), (_DONE, _THERE))
        self._delete(segment.vxlan)
        try:
            self._host.run(
                rtnetlink.add_vxlan(segment.vxlan, self._netns, segment.vni, step.local, step.port, step.mtu)
            )
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            raise ShoalError(
                f"VXLAN id {segment.vni} on port {step.port} is in use by another device of this host"
            ) from error
        vxlan = self._index(segment.vxlan)
        if six:
            # The kernel keeps no neighbour of an interface without IPv6.
            self._allow_ipv6(segment.vxlan)
        inside.run(
            rtnetlink.set_master(vxlan, index),
            rtnetlink.stop_learning(vxlan),
            rtnetlink.finish(vxlan, alias(self._tag, step.mark)),
        )

    def _allow_ipv6(self, interface: str) -> None:
        with self._namespaces.inside(self._netns):
            set_sysctl(f"ipv6/conf/{interface}/disable_ipv6", "0")

    def _make_port(self, step: plan.MakePort) -> None:
        inside, port = self._inside, step.port
        if step.anew:
            self._delete(port.name)
        bridge = self._index(f"br{port.vni}")
        with open(port.netns, "rb") as netns:
            request = rtnetlink.add_veth(
                port.name, bridge, port.interface, port.mac, netns.fileno(), mtu=step.mtu, up=False
            )
            try:
                inside.run(request)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise
                raise ShoalError(f"{port.interface} is there already in the container") from error
            self._fill(port, netns.fileno())
        link = self._link(port.name)
        inside.run(rtnetlink.finish(link.index, alias(self._tag, port_mark(port, step.inode))))

    def _fill(self, port: Port, netns: int) -> None:
        with self._namespaces.inside(netns):
            container = NetlinkSocket()
            if any(address.version == 6 for address in port.addresses):
                set_sysctl(f"ipv6/conf/{port.interface}/disable_ipv6", "0")
        with container:
            link = container.link(port.interface)
            if link is None:
                raise ShoalError(f"the interface {port.interface} is gone as soon as it was made")
            container.run(
                *(rtnetlink.add_address(link.index, address) for address in port.addresses),
                rtnetlink.set_up(link.index),
                *(rtnetlink.add_route(to, gateway, replace=not to.prefixlen) for to, gateway in port.routes),
            )

    def _change_port(self, step: plan.ChangePort) -> None:
        port = step.port
        here = self._link(port.name)
        with open(port.netns, "rb") as netns, self._namespaces.inside(netns.fileno()):
            container = NetlinkSocket()
        with container:
            link = container.link(port.interface)
            if link is None:
                raise ShoalError(f"the container has no {port.interface} any more")
            container.run(rtnetlink.set_mtu(link.index, step.mtu))
            self._inside.run(rtnetlink.set_mtu(here.index, step.mtu))
            there = [
                way
                for address in port.addresses
                for way in rtnetlink.ways(
                    container.run(rtnetlink.list_ways(address.version), most=_MOST_ROUTES), link.index
                )
            ]
            container.run(
                *(
                    rtnetlink.add_route(to, gateway, replace=not to.prefixlen)
                    for to, gateway in port.routes
                    if (to, gateway) not in there
                ),
                *(rtnetlink.delete_route(to, gateway) for to, gateway in there if (to, gateway) not in port.routes),
            )
        self._inside.run(rtnetlink.finish(here.index, alias(self._tag, port_mark(port, step.inode))))

    def _set_peers(self, step: plan.SetPeers) -> None:
        requests: list[tuple[plan.Entry, Request]] = []
        refused: dict[plan.Entry, int] = {}
        bridges = {vni: self._inside.link(f"br{vni}") for vni, *_ in step.forwarding}
        for vni, address, mac in step.neighbours:
            requests.append(((vni, address), tables.set_neighbour(Neighbour(self._index(f"vx{vni}"), address, mac))))
        for vni, mac, node in step.forwarding:
            bridge = bridges[vni]
            if (
                bridge is not None and mac == bridge.mac
            ):  # of the gateway that containers here have: the kernel would lead it away from them
                refused[vni, mac] = errno.EADDRINUSE
                continue
            index = self._index(f"vx{vni}")
            requests.append(((vni, mac), tables.set_forwarding(Forwarding(index, mac, node))))
            requests.append(((vni, mac), tables.set_forwarding(Forwarding(index, mac, None))))
        self._try_peers(requests, (_DONE,), refused)

    def _drop_peers(self, step: plan.DropPeers) -> None:
        requests: list[tuple[plan.Entry, Request]] = []
        for vni, address in step.neighbours:
            requests.append(((vni, address), tables.delete_neighbour(self._index(f"vx{vni}"), address)))
        for vni, mac in step.forwarding:
            index = self._index(f"vx{vni}")
            requests += [((vni, mac), tables.delete_forwarding(index, mac, beyond=beyond)) for beyond in (True, False)]
        self._try_peers(requests, _GONE, {})

    def _try_peers(
        self, requests: Sequence[tuple[plan.Entry, Request]], fine: tuple[int, ...], refused: dict[plan.Entry, int]
    ) -> None:
        errors = self._inside.try_all([request for _, request in requests])
        for (entry, _), number in zip(requests, errors, strict=True):
            if number not in fine:
                refused.setdefault(entry, number)
        if refused:
            raise RefusedPeers(refused)

    def _drop_namespace(self) -> None:
        # The kernel removes a namespace later, by itself: until then nobody could use the VXLAN ids, nor the names in
        # containers. So it stays until they are gone, for the next try to find them.
        links = rtnetlink.links(self._inside.run(rtnetlink.list_links()))
        self._delete_all([link for link in links if link.kind in ("vxlan", "veth")])
        self.close()
        self._namespaces.remove(self._path)

    def _delete_all(self, links: list[Link]) -> None:
        if not links:
            return
        requests = [rtnetlink.set_group(link.index, CONDEMNED) for link in links]
        self._check(requests, self._inside.try_all(requests), _GONE)
        try:
            self._inside.run(rtnetlink.delete_group(CONDEMNED))
        except OSError as error:
            if error.errno != errno.ENODEV:  # the kernel was quicker
                raise

    def _check(self, requests: list[Request], errors: list[int], fine: tuple[int, ...]) -> None:
        bad = [number for number in errors if number not in fine]
        if bad:
            raise ShoalError(f"the kernel refused {len(bad)} of {len(requests)} entries: {os.strerror(bad[0])}")

    def _link(self, name: str) -> Link:
        link = self._inside.link(name)
        if link is None:
            raise ShoalError(f"the interface {name} is gone")
        return link

    def _index(self, name: str) -> int:
        """Of a bridge or a VXLAN device."""
        if name not in self._indexes:
            self._indexes[name] = self._link(name).index
        return self._indexes[name]

    def _delete(self, name: str) -> None:
        self._indexes.pop(name, None)
        link = self._inside.link(name)
        if link:
            self._inside.delete_link(link.index)
