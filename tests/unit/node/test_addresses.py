"""On which addresses a node listens, and which it tells others."""

from ipaddress import IPv4Network, ip_address

import pytest

from shoal.errors import InvalidArgument, ShoalError
from shoal.node import addresses
from shoal.node.addresses import Interface, resolve


def interface(name: str, *given: str, up: bool = True, physical: bool = True) -> Interface:
    return Interface(name, up, name == "lo", physical and name != "lo", tuple(map(ip_address, given)))


LO = interface("lo", "127.0.0.1", "::1")
ETH0 = interface("eth0", "10.0.0.5", "fe80::1")
ETH1 = interface("eth1", "192.168.7.5")
VETH = interface("veth1", "172.16.0.9", physical=False)
BRIDGE = interface("br0", "172.20.0.1", physical=False)


def test_single_address_of_the_host_is_advertised() -> None:
    found = resolve("0.0.0.0:2377", "", "", [LO, ETH0, BRIDGE])
    assert found == addresses.NodeAddresses("0.0.0.0:2377", "10.0.0.5:2377", "", "10.0.0.5")


def test_port_defaults_to_2377_and_an_interface_stands_for_its_address() -> None:
    found = resolve("eth1", "eth0", "eth1", [LO, ETH0, ETH1])
    assert found.listen == "192.168.7.5:2377"
    assert found.data_path == "192.168.7.5"


def test_interface_with_an_ipv4_and_an_ipv6_address_stands_for_the_ipv4_one() -> None:
    assert resolve("0.0.0.0", "eth0:4000", "", [LO, ETH0]).advertise == "10.0.0.5:4000"


def test_two_addresses_on_different_interfaces_are_named() -> None:
    with pytest.raises(InvalidArgument, match=r"multiple addresses on different interfaces \(10.0.0.5 on eth0 and 192"):
        resolve("0.0.0.0:2377", "", "", [LO, ETH0, ETH1])


def test_a_bridge_of_another_daemon_is_no_choice_where_no_interface_is_physical() -> None:
    eth0 = interface("eth0", "10.0.0.5", physical=False)
    bridge = interface("shoal0a1b2c3d", "172.18.0.1", physical=False)
    assert resolve("0.0.0.0:2377", "", "", [LO, eth0, bridge]).advertise == "10.0.0.5:2377"


def test_two_addresses_on_one_interface_are_named() -> None:
    both = interface("eth0", "10.0.0.5", "10.0.0.6")
    with pytest.raises(InvalidArgument, match=r"on interface eth0 \(10.0.0.5 and 10.0.0.6\)"):
        resolve("0.0.0.0:2377", "", "", [LO, both])


def test_in_a_container_where_all_is_virtual_own_subnets_do_not_count() -> None:
    own = [IPv4Network("172.20.0.0/16")]
    assert resolve("0.0.0.0:2377", "", "", [LO, VETH, BRIDGE], own_subnets=own).advertise == "172.16.0.9:2377"


def test_advertising_an_address_of_elsewhere_needs_a_unique_one_here() -> None:
    with pytest.raises(InvalidArgument, match="must specify a listening address"):
        resolve("0.0.0.0:2377", "203.0.113.9", "", [LO, ETH0, ETH1])
    assert resolve("0.0.0.0:2377", "203.0.113.9", "", [LO, ETH0]).local == "10.0.0.5"


@pytest.mark.parametrize(
    ("listen", "advertise", "data_path", "text"),
    [
        ("", "", "", 'invalid ListenAddr "": invalid empty address'),
        ("nosuch0", "", "", "listen address must be an IP address or network interface"),
        ("0.0.0.0", "0.0.0.0", "", "advertise address must be a non-zero IP address"),
        ("0.0.0.0", "eth0", "nosuch0", "data path address must be a non-zero IP address"),
        ("0.0.0.0:x", "", "", "could not parse listen address"),
        ("0.0.0.0", "dummy0", "", "interface dummy0 has no usable IPv4 or IPv6 address"),
    ],
)
def test_bad_addresses_are_refused_in_dockers_words(listen: str, advertise: str, data_path: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve(listen, advertise, data_path, [LO, ETH0, interface("dummy0")])
    assert text in str(caught.value)


def test_no_address_at_all() -> None:
    with pytest.raises(InvalidArgument, match="could not find the system's IP address"):
        resolve("0.0.0.0", "", "", [LO])


def test_pools_and_ports() -> None:
    addresses.check_pools(["10.10.0.0/16"], 24)
    with pytest.raises(ShoalError, match="subnet size is out of range: 30"):
        addresses.check_pools(["10.10.0.0/16"], 30)
    with pytest.raises(ShoalError, match="subnet size is out of range: 40"):
        addresses.check_pools([], 40)
    with pytest.raises(ShoalError, match="Subnet size is too small for pool: 24"):
        addresses.check_pools(["10.10.0.0/26"], 24)
    assert addresses.check_data_path_port(0) == 4789
    with pytest.raises(ShoalError, match="not in valid range"):
        addresses.check_data_path_port(80)


@pytest.mark.parametrize(
    ("text", "parts"), [("[::1]:99", ("::1", 99)), ("::1", ("::1", 5)), ("h", ("h", 5)), (":7", ("", 7))]
)
def test_host_and_port_come_apart(text: str, parts: tuple[str, int]) -> None:
    assert addresses.split_host_port(text, 5) == parts


def test_joining_node_is_reached_where_it_comes_from() -> None:
    found = addresses.resolve_joining("0.0.0.0:2377", "", "", [LO, ETH0, ETH1], towards_manager="10.0.0.5")
    assert found == addresses.NodeAddresses("0.0.0.0:2377", "10.0.0.5:2377", "", "10.0.0.5")


def test_joining_node_that_listens_on_one_address_has_that_one() -> None:
    found = addresses.resolve_joining("eth1:2399", "", "eth0", [LO, ETH0, ETH1], towards_manager="10.0.0.5")
    assert found == addresses.NodeAddresses("192.168.7.5:2399", "192.168.7.5:2399", "10.0.0.5", "192.168.7.5")


def test_advertised_address_of_a_joining_node_counts_if_it_is_one() -> None:
    def advertised(given: str) -> str:
        return addresses.resolve_joining("0.0.0.0", given, "", [ETH0, ETH1], towards_manager="10.0.0.5").advertise

    assert advertised("eth1:2399") == "192.168.7.5:2399"
    assert advertised("no-such-thing") == "10.0.0.5:2377"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("h", "h:2377"), ("tcp://h:99", "h:99"), ("[::1]", "[::1]:2377"), ("10.0.0.1:2377", "10.0.0.1:2377")],
)
def test_manager_to_join_has_a_port(given: str, meant: str) -> None:
    assert addresses.remote_address(given) == meant


def test_manager_to_join_must_be_named() -> None:
    with pytest.raises(InvalidArgument, match='invalid remoteAddr "": invalid empty address'):
        addresses.remote_address("")


SAVED = addresses.NodeAddresses("0.0.0.0:2377", "10.0.0.5:2399", "", "10.0.0.5")


def test_node_whose_host_has_its_address_still_stays_where_it_is() -> None:
    assert addresses.relocate(SAVED, [LO, ETH0, ETH1]) is None


def test_node_goes_with_its_hosts_address() -> None:
    """Known fault 75."""
    found = addresses.relocate(SAVED, [LO, ETH1])
    assert found == addresses.NodeAddresses("0.0.0.0:2377", "192.168.7.5:2399", "", "192.168.7.5")


def test_moved_node_listens_where_it_is_and_advertises_what_was_never_its_own() -> None:
    saved = addresses.NodeAddresses("10.0.0.5:2399", "203.0.113.9:2377", "10.0.0.5", "10.0.0.5")
    found = addresses.relocate(saved, [LO, ETH1], default_advertise="eth1")
    assert found == addresses.NodeAddresses("192.168.7.5:2399", "203.0.113.9:2377", "192.168.7.5", "192.168.7.5")


def test_moved_node_that_could_be_in_two_places_says_so() -> None:
    with pytest.raises(InvalidArgument, match="multiple addresses"):
        addresses.relocate(SAVED, [LO, ETH1, interface("eth2", "172.30.0.4")])
