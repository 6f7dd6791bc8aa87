"""How the routing mesh is to look on this node: from what is wanted here and what other nodes have told. Pure.

Ports and places of this node's own tasks come from what is wanted here alone: another node's word leads to no port of a
task of this node that its service does not publish.
"""

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.network.directory import Directory
from shoal.network.kernel.state import overlay_mtu
from shoal.network.mesh.rules import PublishedPort
from shoal.network.mesh.state import Backend, Gateway, Here, Mesh, mac_of
from shoal.network.records import PeerRecord, of_one
from shoal.network.rtnetlink import Address
from shoal.network.rules import GOSSIP_PORT
from shoal.network.translation.places import Place, place
from shoal.network.wanted import Endpoint, Gossip, HostBridge, Overlay, Sandbox, Wanted

MANAGERS_PORT = 2377  # another is one that somebody listens on (reserved.py)
# Each is a chain, and each change writes all of them anew.
MOST_PORTS = 4096
# Each is a rule and a route. A swarm of that many nodes is beyond what managers carry.
MOST_GATEWAYS = 4096

_Tasks = Mapping[IPv4Address, tuple[IPv4Address, Endpoint]]


def ports_of_nodes(vxlan_port: int) -> frozenset[PublishedPort]:
    """Return the ports by which nodes speak to each other: no service's, whether or not one listens just now."""
    return frozenset({("tcp", MANAGERS_PORT), ("tcp", GOSSIP_PORT), ("udp", GOSSIP_PORT), ("udp", vxlan_port)})


def ingress_of(wanted: Wanted) -> Overlay | None:
    """Return the ingress network, where this node has an address on it."""
    return next((one for one in wanted.overlays if one.ingress and one.node_address), None)


def desired_mesh(
    wanted: Wanted, directory: Directory, *, tag: str, nodes: Collection[Address], path_mtu: int
) -> Mesh | None:
    """Return the mesh; None where there is to be none: no swarm, no ingress, or nobody publishes a port.

    `nodes` are addresses of other nodes that are known otherwise than by their tunnels. InvalidArgument or
    FailedPrecondition where ingress is one that cannot be carried.
    """
    ingress, gossip, bridge = ingress_of(wanted), wanted.gossip, wanted.bridge
    if ingress is None or gossip is None or bridge is None:
        return None
    tasks = dict(_tasks(wanted, ingress))
    own, vni = _place(ingress)
    peers = _peers(ingress, directory, own, tasks, ipaddress.ip_address(gossip.data_path))
    published, without_source, serving = _published(directory, ingress, tasks, peers)
    for port in ports_of_nodes(gossip.vxlan_port):
        published.pop(port, None)
    if not published:
        return None
    return Mesh(
        tag=tag,
        vni=vni,
        vxlan_port=gossip.vxlan_port,
        local=ipaddress.ip_address(gossip.data_path),
        mtu=overlay_mtu(ingress.mtu, path_mtu, ipaddress.ip_address(gossip.data_path)),
        own=own,
        bridge=bridge.name,
        own_subnets=_own_subnets(wanted, bridge),
        published=published,
        here=frozenset(_here(tasks)),
        # An address without a task is a node's own: nobody else begins connections on ingress.
        gateways=_gateways({address: peers[address].mac for address in peers.keys() - serving}),
        nodes=_others(gossip, {*nodes, *(peer.tunnel for peer in peers.values())}),
        without_source=without_source,
        peers={address: (peer.mac, peer.tunnel) for address, peer in peers.items()},
        translation=_translation(tag, bridge),
    )


def _place(ingress: Overlay) -> tuple[IPv4Interface, int]:
    """Return this node's own address on ingress, and the VXLAN id of its subnet."""
    if ingress.encrypted:
        raise FailedPrecondition(
            f"network {ingress.name} is encrypted, and the routing mesh cannot encrypt: it is not run in the clear"
        )
    try:
        own = ipaddress.ip_interface(ingress.node_address)
        for subnet in ingress.subnets:
            network = ipaddress.ip_network(subnet.subnet)
            if isinstance(own, IPv4Interface) and isinstance(network, IPv4Network) and own.ip in network:
                return IPv4Interface((own.ip, network.prefixlen)), subnet.vni
    except ValueError as error:
        raise InvalidArgument(f"network {ingress.name}: {error}") from error
    raise InvalidArgument(f"network {ingress.name} has no IPv4 subnet with this node's address {ingress.node_address}")


def _tasks(wanted: Wanted, ingress: Overlay) -> Iterator[tuple[IPv4Address, tuple[IPv4Address, Endpoint]]]:
    """Yield this node's tasks on ingress by their addresses there, each with its place on the bridge."""
    for sandbox in wanted.sandboxes:
        for endpoint in sandbox.endpoints:
            if endpoint.network == ingress.id:
                yield _task(sandbox, endpoint)


def _task(sandbox: Sandbox, endpoint: Endpoint) -> tuple[IPv4Address, tuple[IPv4Address, Endpoint]]:
    try:
        return IPv4Interface(endpoint.address).ip, (IPv4Address(sandbox.outside), endpoint)
    except ValueError as error:
        raise InvalidArgument(f"container {sandbox.container[:12]} has no place on the bridge: {error}") from error


def _peers(
    ingress: Overlay, directory: Directory, own: IPv4Interface, tasks: _Tasks, local: Address
) -> dict[IPv4Address, PeerRecord]:
    """Return who is on other nodes. None takes an address that a task of this node has, or the node itself."""
    return {
        address: peer
        for address, peer in directory.neighbours(ingress.id).items()
        if isinstance(address, IPv4Address)
        and of_one(address, own.network)
        and address != own.ip
        and address not in tasks
        and peer.tunnel != local
        and peer.tunnel.version == local.version
    }


def _published(
    directory: Directory, ingress: Overlay, tasks: _Tasks, peers: Mapping[IPv4Address, PeerRecord]
) -> tuple[dict[PublishedPort, frozenset[Backend]], frozenset[IPv4Address], set[Address]]:
    """Return where each published port leads, which of these may not see clients' addresses, and all that serve.

    A port whose tasks are all on their way out is still published: it is refused at once, and is not the host's own.
    """
    found: dict[PublishedPort, set[Backend]] = {}
    last: dict[PublishedPort, set[Backend]] = {}  # where nobody else is there
    late = directory.late(ingress.id)
    without_source: set[IPv4Address] = set()
    serving: set[Address] = set()
    for own, (outside, endpoint) in tasks.items():
        for port in endpoint.service.ports if endpoint.service else ():
            places = found.setdefault((port.protocol, port.published), set())
            if endpoint.enabled:
                places.add(Backend(outside, port.target))
            elif own in late:
                last.setdefault((port.protocol, port.published), set()).add(Backend(outside, port.target))
        if endpoint.service and not endpoint.service.keeps_source:
            without_source.add(outside)
    for record in directory.endpoints(ingress.id).values():
        address = record.address
        if not record.service_id or not isinstance(address, IPv4Address) or address not in peers:
            continue
        serving.add(address)
        if not record.keeps_source:
            without_source.add(address)
        for port in record.ports:
            places = found.setdefault((port.protocol, port.published), set())
            if not record.disabled:
                places.add(Backend(address, port.published))
            elif address in late:
                last.setdefault((port.protocol, port.published), set()).add(Backend(address, port.published))
    ours = {(port.protocol, port.published) for _, on in tasks.values() if on.service for port in on.service.ports}
    chosen = sorted(found, key=lambda port: (port not in ours, port))[:MOST_PORTS]
    return (
        {port: frozenset(found[port] or last.get(port, set())) for port in chosen},
        frozenset(without_source),
        serving,
    )


def _gateways(macs: Mapping[IPv4Address, str]) -> frozenset[Gateway]:
    """Return the nodes by which connections come. Each MAC is one node's: two would be no map, and so no mesh at all.

    The node whose MAC is made of its address, as Docker makes it, then the one with the greatest address.
    """
    whose: dict[str, IPv4Address] = {}
    for address in sorted(macs, key=lambda one: (macs[one] == mac_of(one), one)):
        whose[macs[address]] = address
    nodes = sorted((address, mac) for mac, address in whose.items())
    return frozenset(Gateway(address, mac) for address, mac in nodes[:MOST_GATEWAYS])


def _here(tasks: _Tasks) -> Iterator[Here]:
    for address, (outside, endpoint) in tasks.items():
        for port in endpoint.service.ports if endpoint.service else ():
            yield Here(address, port.protocol, port.published, outside, port.target)


def _own_subnets(wanted: Wanted, bridge: HostBridge) -> frozenset[IPv4Network]:
    """Return where this node's tasks are: what comes from there must come back by this node."""
    texts = [*bridge.subnets, *(one.subnet for each in wanted.overlays if not each.ingress for one in each.subnets)]
    try:
        networks = [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise InvalidArgument(f"a network of this node is none: {error}") from error
    return frozenset(network for network in networks if isinstance(network, IPv4Network))


def _translation(tag: str, bridge: HostBridge) -> Place | None:
    """Return how clients of IPv6 get to published ports: as ones of the bridge, wherever the task is."""
    subnets = [ipaddress.ip_network(text) for text in bridge.subnets]
    return next((place(tag, "mesh", one) for one in subnets if isinstance(one, IPv4Network)), None)


def _others(gossip: Gossip, nodes: Collection[Address]) -> frozenset[IPv4Address]:
    own = {gossip.advertise, gossip.data_path}
    return frozenset(one for one in nodes if isinstance(one, IPv4Address) and str(one) not in own)
