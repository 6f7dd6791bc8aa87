from shoal.api import v1 as api
from shoal.manager.allocator.networks import VNI_OPTION, Networks, is_overlay
from shoal.manager.allocator.waiting import Lacking, address, fixed_address, removal, vni
from tests.unit.manager.allocator.objects import network


def given(networks: Networks, asked: api.Network) -> api.Network:
    made = networks.allocate(asked)
    assert isinstance(made, api.Network), made
    return made


def lacks(networks: Networks, asked: api.Network) -> str:
    made = networks.allocate(asked)
    assert isinstance(made, Lacking)
    return made.reason


def shown(made: api.Network) -> list[tuple[str, str]]:
    return [(config.subnet, config.gateway) for config in made.ipam.configs]


def test_an_overlay_gets_subnet_gateway_and_vxlan_id() -> None:
    networks = Networks()
    made = given(networks, network("ingress", ingress=True))
    assert shown(made) == [("10.0.0.0/24", "10.0.0.1")]
    assert made.driver_state == api.Driver(name="overlay", options={VNI_OPTION: "4096"})
    assert made.ipam.driver.name == "default"
    assert shown(given(networks, network("blue"))) == [("10.0.1.0/24", "10.0.1.1")]


def test_what_was_asked_for_is_kept() -> None:
    asked = network("blue", vnis="77,5000")
    asked.spec.driver_config.options["encrypted"] = ""
    asked.spec.ipam.configs.add(
        subnet="10.1.0.9/16", gateway="10.1.255.254", range="10.1.4.0/24", reserved={"router": "10.1.4.1"}
    )
    asked.spec.ipam.configs.add(subnet="10.2.0.0/24")
    networks = Networks()
    made = given(networks, asked)
    assert shown(made) == [("10.1.0.0/16", "10.1.255.254"), ("10.2.0.0/24", "10.2.0.1")]
    assert dict(made.driver_state.options) == {VNI_OPTION: "77,5000", "encrypted": ""}
    assert networks.take("blue") == ["10.1.4.0/16"]
    assert networks.take("blue") == ["10.1.4.2/16"]


def test_a_network_of_both_families_gives_an_address_of_each() -> None:
    networks = Networks()
    made = given(networks, network("blue", "fd00::/64", "10.1.0.0/24"))
    assert [config.family for config in made.ipam.configs] == [api.IPAMConfig.IPV4, api.IPAMConfig.IPV6]
    # Docker Engine counts VXLAN ids of the subnets of IPv4 alone.
    assert made.driver_state.options[VNI_OPTION] == "4096"
    # The lowest of IPv6 is what each Docker Engine gives its own endpoint.
    assert networks.take("blue", all_families=True) == ["10.1.0.2/24", "fd00::3/64"]
    assert networks.take("blue") == ["10.1.0.3/24"]
    again = Networks()
    assert again.restore(made) == []
    again.go_on()
    assert again.take("blue", all_families=True) == ["10.1.0.2/24", "fd00::3/64"]


def test_a_network_of_ipv6_alone_has_a_vxlan_id_a_subnet() -> None:
    networks = Networks()
    made = given(networks, network("blue", "fd00::/64", "fd01::/64"))
    assert made.driver_state.options[VNI_OPTION] == "4096,4097"
    assert networks.take("blue", all_families=True) == ["fd00::2/64"]


def test_beside_several_subnets_of_ipv4_one_of_ipv6_is_given_to_nobody() -> None:
    networks = Networks()
    made = given(networks, network("blue", "10.1.0.0/24", "10.2.0.0/24", "fd00::/64"))
    assert made.driver_state.options[VNI_OPTION] == "4096,4097"
    assert networks.take("blue", all_families=True) == ["10.1.0.2/24"]


def test_several_subnets_are_used_one_after_the_other() -> None:
    networks = Networks()
    given(networks, network("blue", "10.1.0.0/30", "10.2.0.0/30"))
    assert [networks.take("blue") for _ in range(2)] == [["10.1.0.2/30"], ["10.2.0.2/30"]]
    assert networks.take("blue") == Lacking("network blue has no free address", address("blue", 32))


def test_networks_of_the_nodes_get_a_name_alone() -> None:
    made = given(Networks(), network("mac", driver="macvlan"))
    assert made.driver_state == api.Driver(name="macvlan")
    assert made.HasField("ipam")
    assert not made.ipam.configs
    assert not is_overlay(made)


def test_what_cannot_be_had_is_said_and_nothing_is_kept() -> None:
    networks = Networks()
    given(networks, network("red", "10.1.0.0/16", vnis="5000"))
    overlap = networks.allocate(network("blue", "10.9.0.0/24", "10.1.7.0/24"))
    assert overlap == Lacking("network blue: 10.1.7.0/24 overlaps with 10.1.0.0/16 of network red", removal("red"))
    assert networks.allocate(network("blue", vnis="5000")) == Lacking(
        "network blue: VXLAN id 5000 is that of network red", vni(5000)
    )
    assert lacks(networks, network("blue", vnis="0")) == "network blue: 0 is no VXLAN id"
    for number in ("9" * 5000, "\u00b2", "1_0"):  # Python reads none of the first, and its digits have other scripts
        assert lacks(networks, network("blue", vnis=number)) == f"network blue: {number[:20]} is no VXLAN id"
    assert lacks(networks, network("blue", vnis="7,7")) == "network blue: VXLAN id 7 is its own twice"
    narrow = network("blue", "10.9.0.0/32")
    narrow.spec.ipam.configs[0].reserved["router"] = "10.9.0.0"
    assert lacks(networks, narrow) == "network blue: 10.9.0.0/32 has no address for a gateway"
    assert lacks(networks, network("blue", driver="weave")) == "network blue: there is no driver weave"
    given(networks, network("green", "10.9.0.0/24"))


def test_exhausted_pools_are_said() -> None:
    networks = Networks()
    networks.subnets.configure(["10.0.0.0/24"], 24)
    given(networks, network("red"))
    assert lacks(networks, network("blue")) == "network blue: the default address pools are exhausted"
    networks.drop("red")
    assert removal("red") in networks.freed
    given(networks, network("blue"))


def test_a_fixed_address_is_given_once() -> None:
    networks = Networks()
    given(networks, network("blue", "10.1.0.0/24"))
    assert networks.take_fixed("blue", ["10.1.0.9"]) == ["10.1.0.9/24"]
    number = (10 << 24) + (1 << 16) + 9
    assert networks.take_fixed("blue", ["10.1.0.9"]) == Lacking(
        "address 10.1.0.9 of network blue is in use", fixed_address("blue", number)
    )
    refused = networks.take_fixed("blue", ["10.2.0.9"])
    assert isinstance(refused, Lacking)
    assert refused.reason == "10.2.0.9 is in no subnet of network blue"
    networks.release("blue", ["10.1.0.9/24"])
    assert fixed_address("blue", number) in networks.freed
    assert networks.take_fixed("blue", ["10.1.0.9"]) == ["10.1.0.9/24"]


def test_a_restored_network_keeps_what_it_has() -> None:
    """Known fault 41."""
    first = Networks()
    red, blue = given(first, network("red")), given(first, network("blue", "10.8.0.0/24", vnis="6000"))
    second = Networks()
    assert second.restore(red) + second.restore(blue) == []
    second.go_on()
    made = given(second, network("green"))
    assert shown(made) == [("10.0.1.0/24", "10.0.1.1")]
    assert made.driver_state.options[VNI_OPTION] == "4097"
    assert second.take("red") == ["10.0.0.2/24"]


def test_records_that_clash_are_told() -> None:
    red, blue = given(Networks(), network("red")), given(Networks(), network("blue"))
    networks = Networks()
    assert networks.restore(red) == []
    assert networks.restore(blue) == [
        "network blue: 10.0.0.0/24 overlaps with 10.0.0.0/24 of network red",
        "network blue: VXLAN id 4096 is that of network red",
    ]
    blue.ipam.configs[0].subnet = "x"
    assert networks.restore(blue)[0] == "network blue: x is no subnet"
