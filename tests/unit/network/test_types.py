"""What a container's connections say of themselves."""

from shoal.network.types import Endpoint, Sandbox

BRIDGE = Endpoint("bridge", "b" * 64, "e1", "172.18.0.2", 16, "172.18.0.1")
OVERLAY = Endpoint("web", "c" * 64, "e2", "10.0.1.5", 24)
ALONE = Endpoint("none", "d" * 64, "e3")


def test_the_first_endpoint_names_a_container() -> None:
    assert Sandbox("/n", (BRIDGE, OVERLAY)).first is BRIDGE
    assert Sandbox().first == Endpoint()


def test_addresses_are_those_of_all_endpoints_that_have_one() -> None:
    assert Sandbox("/n", (BRIDGE, ALONE, OVERLAY)).addresses == ("172.18.0.2", "10.0.1.5")
    assert Sandbox().addresses == ()
