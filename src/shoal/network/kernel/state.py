"""How an overlay is to look in this node's kernel, and how it does look. Values; where wanted ones come from.

An overlay has a network namespace on each node that takes part, with a bridge and a VXLAN device for each VXLAN id, and
the other ends of its containers' interfaces. What is behind the VXLAN device, the kernel is told by three tables:
neighbours (address to MAC), and forwarding (MAC to node) in the device and in the bridge.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.network.kernel.others import Others
from shoal.network.records import PeerRecord
from shoal.network.rtnetlink import Address, Interface, Network
from shoal.network.wanted import Endpoint, Overlay, Trouble

# VXLAN's own headers, and those of UDP, IP and Ethernet around a packet (gossip.md 4.2; 20 bytes more with IPv6).
_OVERHEAD = {4: 50, 6: 70}
# ESP's around that, and to what it fills up (gossip.md 4.2).
_ESP_OVERHEAD, _ESP_BLOCK = 26, 4
# What Docker takes where no option says otherwise, and what we take where no device has the node's address.
DEFAULT_MTU = 1500
# IPv6 has no links with less (RFC 8200); the outer packets are then sent in pieces.
_LEAST_MTU = {4: 576, 6: 1280}
_ID = re.compile(r"[0-9a-z]{1,64}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# The kernel's limits for an interface's name (IFNAMSIZ, dev_valid_name).
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_MOST_VNI = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A VXLAN id, with the bridge that is its segment on this node. The bridge has the gateways' addresses."""

    vni: int
    gateways: tuple[Interface, ...]

    @property
    def bridge(self) -> str:
        """The bridge's name in the overlay's namespace."""
        return f"br{self.vni}"

    @property
    def vxlan(self) -> str:
        """The VXLAN device's name there."""
        return f"vx{self.vni}"


@dataclass(frozen=True, slots=True)
class Port:
    """A container's interface: one end in its namespace, the other on a segment's bridge."""

    endpoint: str
    netns: str  # path
    interface: str
    address: Interface
    mac: str
    vni: int
    routes: tuple[tuple[Network, Address], ...] = ()  # destination and gateway
    second: Interface | None = None  # of IPv6, beside one of IPv4

    @property
    def name(self) -> str:
        """The name of the end on the bridge."""
        return port_name(self.endpoint)

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Both addresses, or the one."""
        return (self.address, self.second) if self.second else (self.address,)

    def shape(self, inode: int) -> str:
        """Return what tells this interface from any that is to be made anew; `inode`: its namespace's."""
        return _digest(f"{inode} {self.interface} {' '.join(map(str, self.addresses))} {self.mac} {self.vni}")

    def ways(self) -> str:
        """Return what tells these routes from others."""
        return _digest(" ".join(f"{destination}>{gateway}" for destination, gateway in self.routes))


@dataclass(frozen=True, slots=True)
class OverlayState:
    """All of one overlay."""

    id: str
    mtu: int
    local: Address  # the outer packets' source
    port: int  # VXLAN's, outside
    segments: tuple[Segment, ...]
    ports: tuple[Port, ...] = ()
    neighbours: Mapping[tuple[int, Address], str] = field(default_factory=dict)  # VXLAN id and address: MAC
    forwarding: Mapping[tuple[int, str], Address] = field(default_factory=dict)  # VXLAN id and MAC: node
    encrypted: bool = False  # between nodes
    # Only these keys of both tables may be others than in the state that has `mine` for its mark. None: all.
    mine: object = field(default_factory=object, compare=False)
    after: object = field(default=None, compare=False)
    touched: frozenset[tuple[int, Address] | tuple[int, str]] | None = field(default=None, compare=False)

    def mark(self) -> str:
        """Return what tells this VXLAN device from one that is to be made anew."""
        return f"{self.local}:{self.port}"


@dataclass(slots=True)
class Seen:
    """What there is of one overlay. A mark is empty where something was not made to its end."""

    namespace: bool = False
    segments: dict[int, tuple[str, int]] = field(default_factory=dict)  # VXLAN id: mark, MTU
    ports: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # name: shape, ways, MTU
    neighbours: dict[tuple[int, Address], str] = field(default_factory=dict)
    # None: one of the two tables alone has it.
    forwarding: dict[tuple[int, str], Address | None] = field(default_factory=dict)
    # Of which port and which namespace each of `ports` is known to be: nothing is reckoned again for the same.
    made: dict[str, tuple[Port, int]] = field(default_factory=dict)


def port_name(endpoint: str) -> str:
    """Return the name of an endpoint's end on the bridge: 48 random bits."""
    return f"ve{endpoint[:12]}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]


def overlay_mtu(
    option: int, path_mtu: int, local: Address, segments: Iterable[Segment] = (), *, encrypted: bool = False
) -> int:
    """Return the MTU inside: of the driver's option, else of the path to the others, less the overhead."""
    six = any(gateway.version == 6 for segment in segments for gateway in segment.gateways)
    mtu = (option or path_mtu or DEFAULT_MTU) - _OVERHEAD[local.version]
    if encrypted:
        mtu = (mtu - _ESP_OVERHEAD) // _ESP_BLOCK * _ESP_BLOCK
    return max(mtu, _LEAST_MTU[6 if six else 4])


class Made:
    """How one overlay is to look, from call to call: made anew is what changed."""

    def __init__(self) -> None:
        self._overlay: Overlay | None = None
        self._segments: tuple[Segment, ...] = ()
        self._ports: dict[str, tuple[str, Endpoint, Port]] = {}  # by the endpoint's id
        self._others: Others | None = None
        self._state: OverlayState | None = None

    def state(
        self,
        overlay: Overlay,
        endpoints: Iterable[tuple[str, Endpoint]],
        records: Mapping[Address, PeerRecord],
        changed: Iterable[Address] = (),
        *,
        local: Address,
        vxlan_port: int,
        path_mtu: int,
        cannot_encrypt: str = "",
    ) -> tuple[OverlayState, list[Trouble]]:
        """Return how it is to look, and the endpoints that cannot be; each comes with its namespace's path.

        The same object where nothing is another. `records` are all of the network, own ones too, of which these
        addresses' have `changed` since the last call; `cannot_encrypt` says why this node cannot. InvalidArgument or
        FailedPrecondition where nothing can be made of the whole network.
        """
        _require_possible(overlay, cannot_encrypt)
        segments = self._segments_of(overlay)
        ports, troubles = self._ports_of(overlay, endpoints)
        if self._others is None or self._others.local != local:
            subnets = [(gateway.network, segment.vni) for segment in segments for gateway in segment.gateways]
            self._others, changed = Others(subnets, local), list(records)
            self._state = None
        others = self._others
        if self._state is None or self._state.ports != ports:
            here = {gateway.ip for segment in segments for gateway in segment.gateways}
            here.update(address.ip for port in ports for address in port.addresses)
            others.here(frozenset(here), frozenset(port.mac for port in ports))
        others.change(changed, records)
        mtu = overlay_mtu(overlay.mtu, path_mtu, local, segments, encrypted=overlay.encrypted)
        state = OverlayState(overlay.id, mtu, local, vxlan_port, segments, ports, encrypted=overlay.encrypted)
        return self._next(state, others), troubles

    def _next(self, state: OverlayState, others: Others) -> OverlayState:
        former = self._state
        touched, others.touched = frozenset(others.touched), set()
        if former is None:
            state = replace(state, neighbours=dict(others.neighbours), forwarding=dict(others.forwarding))
        else:
            neighbours, forwarding = former.neighbours, former.forwarding
            if touched:
                neighbours, forwarding = dict(others.neighbours), dict(others.forwarding)
            state = replace(state, neighbours=neighbours, forwarding=forwarding, after=former.mine, touched=touched)
            if state == former:
                return former
        self._state = state
        return state

    def _segments_of(self, overlay: Overlay) -> tuple[Segment, ...]:
        if overlay is not self._overlay:
            self._overlay, self._ports, self._others = None, {}, None
            self._segments, self._overlay = _segments(overlay), overlay
        return self._segments

    def _ports_of(
        self, overlay: Overlay, endpoints: Iterable[tuple[str, Endpoint]]
    ) -> tuple[tuple[Port, ...], list[Trouble]]:
        former, troubles = self._ports, []
        self._ports = {}
        for netns, endpoint in endpoints:
            known = former.get(endpoint.id)
            if known is not None and known[1] is endpoint and known[0] == netns:
                self._ports[endpoint.id] = known
                continue
            try:
                self._ports[endpoint.id] = (netns, endpoint, _port(self._segments, netns, endpoint))
            except InvalidArgument as error:
                troubles.append(Trouble(overlay.id, endpoint.id, str(error)))
        return tuple(self._ports[one][2] for one in sorted(self._ports)), troubles


def overlay_state(
    overlay: Overlay,
    endpoints: Iterable[tuple[str, Endpoint]],
    peers: Iterable[PeerRecord],
    *,
    local: Address,
    vxlan_port: int,
    path_mtu: int,
    cannot_encrypt: str = "",
) -> tuple[OverlayState, list[Trouble]]:
    """Return what `Made.state` does the first time. Of two records of one address the later holds."""
    records = {address: peer for peer in peers for address in peer.addresses}
    return Made().state(
        overlay,
        endpoints,
        records,
        local=local,
        vxlan_port=vxlan_port,
        path_mtu=path_mtu,
        cannot_encrypt=cannot_encrypt,
    )


def _require_possible(overlay: Overlay, cannot_encrypt: str) -> None:
    if overlay.encrypted and cannot_encrypt:
        raise FailedPrecondition(
            f"network {overlay.name} is encrypted, and this node cannot encrypt: {cannot_encrypt}; "
            "it is not run in the clear"
        )
    if not _ID.fullmatch(overlay.id):
        raise InvalidArgument(f"network {overlay.name}: an id has lower-case letters and digits, not {overlay.id!r}")


def _segments(overlay: Overlay) -> tuple[Segment, ...]:
    found: dict[int, list[Interface]] = {}
    for subnet in overlay.subnets:
        try:
            network, gateway = ipaddress.ip_network(subnet.subnet), ipaddress.ip_address(subnet.gateway)
        except ValueError as error:
            raise InvalidArgument(f"network {overlay.name}: {error}") from error
        if gateway not in network or not 0 < subnet.vni <= _MOST_VNI:
            raise InvalidArgument(
                f"network {overlay.name}: subnet {network} cannot have gateway {gateway} and VXLAN id {subnet.vni}"
            )
        found.setdefault(subnet.vni, []).append(ipaddress.ip_interface(f"{gateway}/{network.prefixlen}"))
    if not found:
        raise InvalidArgument(f"network {overlay.name} has no subnet")
    return tuple(Segment(vni, tuple(gateways)) for vni, gateways in found.items())


def _port(segments: Sequence[Segment], netns: str, endpoint: Endpoint) -> Port:
    try:
        address = ipaddress.ip_interface(endpoint.address)
        second = ipaddress.IPv6Interface(endpoint.address6 or "::")
    except ValueError as error:
        raise InvalidArgument(f"{endpoint.interface}: {error}") from error
    mac = endpoint.mac.lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise InvalidArgument(f"{endpoint.interface}: {endpoint.mac!r} is no MAC of one receiver")
    if not _ID.fullmatch(endpoint.id) or len(endpoint.id) < 12:
        raise InvalidArgument(f"{endpoint.interface}: {endpoint.id!r} is no id of an endpoint")
    if not _INTERFACE.fullmatch(endpoint.interface) or endpoint.interface in (".", ".."):
        raise InvalidArgument(f"{endpoint.interface!r} is no name of an interface")
    segment, gateway = _gateway(segments, endpoint.interface, address)
    routes = _routes(segments, gateway, default=endpoint.gateway)
    # Its own prefix may be wrong in a record; the network's is what its neighbours have.
    whole = ipaddress.ip_interface(f"{address.ip}/{gateway.network.prefixlen}")
    if not endpoint.address6:
        return Port(endpoint.id, netns, endpoint.interface, whole, mac, segment.vni, routes)
    # On another segment it would be reached by nobody.
    _, beside = _gateway([segment], endpoint.interface, second)
    routes += _routes([segment], beside, default=endpoint.gateway)
    also = ipaddress.ip_interface(f"{second.ip}/{beside.network.prefixlen}")
    return Port(endpoint.id, netns, endpoint.interface, whole, mac, segment.vni, routes, also)


def _gateway(segments: Iterable[Segment], interface: str, address: Interface) -> tuple[Segment, Interface]:
    for segment in segments:
        for gateway in segment.gateways:
            if address.ip.version == gateway.version and address.ip in gateway.network:
                return segment, gateway
    raise InvalidArgument(f"{interface}: {address} is in no subnet of the network")


def _routes(segments: Sequence[Segment], own: Interface, *, default: bool) -> tuple[tuple[Network, Address], ...]:
    """Return the ways to the network's other subnets, and perhaps to all else, by the gateway of one's own."""
    others = [
        gateway.network
        for segment in segments
        for gateway in segment.gateways
        if gateway.version == own.version and gateway.network != own.network
    ]
    everything = ipaddress.ip_network("0.0.0.0/0" if own.version == 4 else "::/0")
    return tuple((network, own.ip) for network in (*others, *([everything] if default else ())))
