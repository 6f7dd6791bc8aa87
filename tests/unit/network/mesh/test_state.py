"""Names, marks and who can answer."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from shoal.network.mesh.state import BACKEND, GATEWAYS, MARK, mac_of
from tests.unit.network.mesh.meshes import LOCAL, MESH, OTHER, REMOTE


def test_names_carry_the_tag_and_fit() -> None:
    longest = replace(MESH, tag="a" * 10)
    assert (longest.device, longest.table) == ("vxi" + "a" * 10, "shoal_aaaaaaaaaa_mesh")
    assert len(longest.device) <= 15


def test_a_gateway_has_a_mark_of_its_own_that_is_never_the_backends() -> None:
    assert MESH.mark(OTHER) == 0x5A000003
    wide = replace(MESH, own=IPv4Interface("10.0.0.2/9"))
    last = wide.mark(wide.own.network[-1])
    assert last & GATEWAYS == MARK
    assert last < BACKEND


def test_a_mac_is_made_of_its_address_as_docker_does() -> None:
    assert mac_of(IPv4Address("10.0.0.2")) == MESH.mac == "02:42:0a:00:00:02"


def test_those_on_their_way_out_can_answer() -> None:
    assert MESH.alive() == {LOCAL.address, REMOTE.address, OTHER}
    leaving = replace(MESH, published={})
    assert leaving.alive() == MESH.alive()
    assert replace(leaving, here=frozenset(), peers={}).alive() == frozenset()
