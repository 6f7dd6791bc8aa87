"""Which virtual IPs a container has, from the entries of its networks."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.balancing.rules import Virtual
from shoal.network.directory import Directory
from shoal.network.process.balances import Balances
from shoal.network.records import ENDPOINTS, Address, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Subnet

BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097), Subnet("fd00:1::/64", "fd00:1::1", 4097)))
RED = Overlay("red", "red", (Subnet("10.0.2.0/24", "10.0.2.1", 4098),))
INGRESS = Overlay("in", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), ingress=True)
BLUE_VIP, RED_VIP, BLUE_VIP6 = ip_address("10.0.1.4"), ip_address("10.0.2.4"), IPv6Address("fd00:1::4")


def told(directory: Directory, network: str, key: str, address: str, vip: str, *, disabled: bool = False) -> None:
    record = EndpointRecord(key, ip_address(address), "s", "web", ip_address(vip), disabled=disabled)
    directory.apply([Changed(ENDPOINTS, network, key, "node", None, record.encode())])


def sandbox(*networks: str) -> Sandbox:
    return Sandbox("c", "c.1", "/n", tuple(Endpoint(f"e{n}", n, "10.0.9.9/24", "", "eth0") for n in networks))


def virtuals(one: Sandbox, directory: Directory, overlays: Iterable[Overlay]) -> tuple[Virtual, ...]:
    """Return what `Balances` says at once, by address."""
    balances = Balances(directory)
    balances.change(overlays, ())
    return tuple(sorted(balances.virtuals(one).values(), key=lambda virtual: virtual.address.packed))


def defined(one: Sandbox, directory: Directory, overlays: Iterable[Overlay]) -> dict[Address, Virtual]:
    """Return what `Balances` is to say, without anything that it remembers."""
    found: dict[Address, tuple[set[Address], set[Address]]] = {}
    on = {endpoint.network for endpoint in one.endpoints}
    for overlay in overlays:
        if overlay.ingress or overlay.id not in on:
            continue
        subnets = [ipaddress.ip_network(subnet.subnet) for subnet in overlay.subnets]
        for key in directory.services(overlay.id):
            if any(key.vip in subnet for subnet in subnets):
                active, leaving = found.setdefault(key.vip, (set(), set()))
                for address, enabled in directory.backends(key).items():
                    if address.version == key.vip.version and any(address in subnet for subnet in subnets):
                        (active if enabled else leaving).add(address)
    return {
        address: Virtual(address, frozenset(active), frozenset(leaving - active))
        for address, (active, leaving) in found.items()
    }


# Two networks have one subnet: nobody gives that out, and still it must end in one state.
OVERLAYS = (BLUE, RED, Overlay("green", "green", BLUE.subnets), INGRESS)
records = st.builds(
    EndpointRecord,
    st.just("t"),
    st.sampled_from([ip_address(one) for one in ("10.0.1.5", "10.0.1.6", "10.0.2.5", "10.0.2.6", "fd00:1::5")]),
    st.sampled_from(["s", "u"]),
    st.just("web"),
    st.sampled_from([BLUE_VIP, RED_VIP, BLUE_VIP6, None]),
    disabled=st.booleans(),
    address6=st.sampled_from([None, IPv6Address("fd00:1::5"), IPv6Address("fd00:1::6"), IPv6Address("fd00:2::5")]),
    vip6=st.sampled_from([None, BLUE_VIP6]),
)
networks = st.sampled_from(["blue", "red", "green", "in"])
words = st.tuples(networks, st.sampled_from("abc"), st.none() | records.map(EndpointRecord.encode))
Steps = list[tuple[list[tuple[str, str, bytes]], set[Overlay]]]
steps = st.lists(st.tuples(st.lists(words, max_size=3), st.sets(st.sampled_from(OVERLAYS))), max_size=8)


@given(steps)
def test_any_changes_end_in_what_is_so_by_definition(
    changes: list[tuple[list[tuple[str, str, bytes]], set[Overlay]]],
) -> None:
    directory = Directory()
    balances = Balances(directory)
    sandboxes = [sandbox("blue", "red"), sandbox("red", "blue"), sandbox("blue", "green"), sandbox("in")]
    for said, overlays in changes:
        directory.apply(Changed(ENDPOINTS, network, key, "node", None, value) for network, key, value in said)
        before = [balances.virtuals(one) for one in sandboxes]
        changed = balances.change(overlays, directory.take_changes().services)
        for one, former in zip(sandboxes, before, strict=True):
            now = balances.virtuals(one)
            assert now == defined(one, directory, overlays)
            assert balances.virtuals(one) is now
            if changed.isdisjoint(endpoint.network for endpoint in one.endpoints):
                assert now is former


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


def test_a_service_has_a_virtual_ip_of_each_family_and_none_leads_to_the_other() -> None:
    directory = Directory()
    five, six = ip_address("10.0.1.5"), IPv6Address("fd00:1::5")
    both = EndpointRecord("a", five, "s", "web", BLUE_VIP, address6=six, vip6=BLUE_VIP6)
    crossed = EndpointRecord("b", six, "s", "web", BLUE_VIP)
    for key, record in (("a", both), ("b", crossed)):
        directory.apply([Changed(ENDPOINTS, "blue", key, "node", None, record.encode())])
    assert virtuals(sandbox("blue"), directory, [BLUE]) == (
        Virtual(BLUE_VIP, frozenset({five})),
        Virtual(BLUE_VIP6, frozenset({six})),
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
