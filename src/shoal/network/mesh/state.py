"""How the routing mesh is to look on this node.

The node owns its tasks' addresses on ingress: a task has its interface on the host's own bridge and none on ingress.
Ingress is a VXLAN device in the host's namespace, without a bridge. A connection that came in by another node goes back
by that node, known by its MAC: the answer is routed by a mark.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from shoal.network.rtnetlink import Address
from shoal.network.translation.places import Place
from shoal.network.wanted import Protocol

# Marks of ours, and routing tables of the same numbers: 0x5a000000 and a node's number on ingress say "back by that
# node"; this one says "to a backend".
MARK, MARKS, BACKEND = 0x5A000000, 0xFF000000, 0x5A800000
GATEWAYS = 0xFF800000  # what a gateway's mark has in common with MARK
# A number on ingress fits below BACKEND.
LEAST_PREFIX = 9


@dataclass(frozen=True, slots=True)
class Here:
    """A published port of a task of this node: what comes for its ingress address, and where that leads."""

    ingress: IPv4Address
    protocol: Protocol
    published: int
    address: IPv4Address  # on the bridge
    target: int


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a connection to a published port may lead: a task here at its target port, or one elsewhere."""

    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """Another node, by its own address on ingress."""

    address: IPv4Address
    mac: str


@dataclass(frozen=True, slots=True)
class Mesh:
    """All of it. `peers` are all addresses on ingress that other nodes have: their MACs, and the nodes."""

    tag: str
    vni: int
    vxlan_port: int
    local: Address  # the outer packets' source
    mtu: int
    own: IPv4Interface  # this node's address on ingress, with its length
    bridge: str  # the host's own
    own_subnets: frozenset[IPv4Network]  # the bridge's, and every overlay's that a task of this node is on
    published: Mapping[tuple[Protocol, int], frozenset[Backend]] = field(default_factory=dict)
    here: frozenset[Here] = frozenset()  # also tasks on their way out, until they have ended
    gateways: frozenset[Gateway] = frozenset()
    nodes: frozenset[IPv4Address] = frozenset()  # the nodes' own addresses outside
    without_source: frozenset[IPv4Address] = frozenset()  # backends that cannot answer by way of this node, or need not
    peers: Mapping[IPv4Address, tuple[str, Address]] = field(default_factory=dict)
    translation: Place | None = None  # how IPv6 clients get to the published ports; None: they do not

    @property
    def device(self) -> str:
        """The VXLAN device's name: with a tag of ten it has 13 characters of 15."""
        return f"vxi{self.tag}"

    @property
    def table(self) -> str:
        """The name of its tables."""
        return f"shoal_{self.tag}_mesh"

    @property
    def mac(self) -> str:
        """Its own MAC on ingress, as Docker makes it of an address."""
        return mac_of(self.own.ip)

    def alive(self) -> frozenset[Address]:
        """Return who can answer a connection: backends, tasks here on their way out, and those of other nodes."""
        backends = {backend.address for places in self.published.values() for backend in places}
        return frozenset({*backends, *(one.address for one in self.here), *self.peers})

    def mark(self, gateway: IPv4Address) -> int:
        """Return the mark, and the routing table, of what goes back by another node."""
        return MARK | int(gateway) & int(self.own.network.hostmask)


@dataclass(frozen=True, slots=True)
class Meshed:
    """What of a mesh is not there: published ports that another program has, and words on entries of other nodes."""

    taken: Collection[tuple[Protocol, int]] = frozenset()
    refused: str = ""


def without_ports(mesh: Mesh, ports: Collection[tuple[Protocol, int]]) -> Mesh:
    """Return it without these published ports on this node. Its tasks are there for other nodes all the same."""
    if not ports:
        return mesh
    return replace(mesh, published={port: places for port, places in mesh.published.items() if port not in ports})


def mac_of(address: IPv4Address) -> str:
    """Return Docker's MAC of an address."""
    return "02:42:" + address.packed.hex(":")
