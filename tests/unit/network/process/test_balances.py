"""Which virtual IPs a container has, from the entries of its networks."""

from ipaddress import ip_address

from shoal.network.balancing.rules import Virtual
from shoal.network.directory import Directory
from shoal.network.process.balances import virtuals
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Subnet

BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))
RED = Overlay("red", "red", (Subnet("10.0.2.0/24", "10.0.2.1", 4098),))
INGRESS = Overlay("in", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), ingress=True)
BLUE_VIP, RED_VIP = ip_address("10.0.1.4"), ip_address("10.0.2.4")


def told(directory: Directory, network: str, key: str, address: str, vip: str, *, disabled: bool = False) -> None:
    record = EndpointRecord(key, ip_address(address), "s", "web", ip_address(vip), disabled=disabled)
    directory.apply([Changed(ENDPOINTS, network, key, "node", None, record.encode())])


def sandbox(*networks: str) -> Sandbox:
    return Sandbox("c", "c.1", "/n", tuple(Endpoint(f"e{n}", n, "10.0.9.9/24", "", "eth0") for n in networks))


def test_a_container_has_the_virtual_ips_of_its_networks_with_who_is_there_and_who_leaves() -> None:
    directory = Directory()
    told(directory, "blue", "a", "10.0.1.5", "10.0.1.4")
    told(directory, "blue", "b", "10.0.1.6", "10.0.1.4", disabled=True)
    told(directory, "red", "c", "10.0.2.5", "10.0.2.4")
    five, six, red = (ip_address(text) for text in ("10.0.1.5", "10.0.1.6", "10.0.2.5"))
    assert virtuals(sandbox("blue"), directory, [BLUE, RED]) == (
        Virtual(BLUE_VIP, frozenset({five}), frozenset({six})),
    )
    assert virtuals(sandbox("red", "blue"), directory, [BLUE, RED]) == (
        Virtual(BLUE_VIP, frozenset({five}), frozenset({six})),
        Virtual(RED_VIP, frozenset({red})),
    )


def test_ingress_has_none() -> None:
    directory = Directory()
    told(directory, "in", "a", "10.0.0.5", "10.0.0.4")
    assert virtuals(sandbox("in"), directory, [INGRESS]) == ()


def test_two_services_that_claim_one_address_share_it() -> None:
    directory = Directory()
    for service, address in (("old", "10.0.1.5"), ("new", "10.0.1.6")):
        record = EndpointRecord(service, ip_address(address), service, service, BLUE_VIP, disabled=service == "old")
        directory.apply([Changed(ENDPOINTS, "blue", service, "node", None, record.encode())])
    (virtual,) = virtuals(sandbox("blue"), directory, [BLUE])
    assert (virtual.backends, virtual.leaving) == (
        frozenset({ip_address("10.0.1.6")}),
        frozenset({ip_address("10.0.1.5")}),
    )


def test_another_node_leads_no_packet_out_of_the_network_that_it_speaks_of() -> None:
    """Else a node that has turned would have what containers send to any address in the world."""
    directory = Directory()
    told(directory, "blue", "a", "10.0.1.5", "198.51.100.7")
    told(directory, "blue", "b", "10.0.1.5", "10.0.2.4")
    told(directory, "blue", "c", "203.0.113.9", "10.0.1.4")
    assert virtuals(sandbox("blue"), directory, [BLUE]) == (Virtual(BLUE_VIP),)
