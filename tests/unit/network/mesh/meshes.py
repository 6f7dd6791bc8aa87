"""A mesh to begin with."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from shoal.network.mesh.state import Backend, Gateway, Here, Mesh, mac_of

OTHER = IPv4Address("10.0.0.3")
LOCAL, REMOTE = Backend(IPv4Address("172.18.0.5"), 80), Backend(IPv4Address("10.0.0.9"), 8080)
MESH = Mesh(
    tag="t1",
    vni=4096,
    vxlan_port=4789,
    local=IPv4Address("192.0.2.1"),
    mtu=1450,
    own=IPv4Interface("10.0.0.2/24"),
    bridge="shoalt1",
    own_subnets=frozenset({IPv4Network("172.18.0.0/16")}),
    published={("tcp", 8080): frozenset({LOCAL, REMOTE})},
    here=frozenset({Here(IPv4Address("10.0.0.5"), "tcp", 8080, LOCAL.address, 80)}),
    gateways=frozenset({Gateway(OTHER, mac_of(OTHER))}),
    nodes=frozenset({IPv4Address("192.0.2.2")}),
    peers={
        OTHER: (mac_of(OTHER), IPv4Address("192.0.2.2")),
        REMOTE.address: (mac_of(REMOTE.address), IPv4Address("192.0.2.2")),
    },
)
