"""The addresses of a translation."""

from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.addresses import AddressPool, clients_of_translations
from shoal.network.translation.places import devices, place

SUBNETS = st.builds(
    lambda number, length: IPv4Network((number >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(8, 28),
)
TAGS = st.text("abcdef0123456789", min_size=1, max_size=10)


def total(*packed: bytes) -> int:
    data = b"".join(packed)
    return sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)) % 0xFFFF


@given(TAGS, SUBNETS)
def test_addresses_of_both_kinds_have_one_sum(tag: str, subnet: IPv4Network) -> None:
    for purpose in ("ports", "mesh"):
        one = place(tag, purpose, subnet)
        assert one is not None
        assert total(one.client.packed, one.host.packed) == total(one.client6.packed, one.host6.packed)
        assert one.client6 != one.host6
        assert one.client6 in one.prefix
        assert one.host6 in one.prefix
        assert one.prefix.subnet_of(IPv6Network("fd00::/8"))
        assert one.device in devices(tag)
        assert len(one.device) <= 15


def test_neither_two_nodes_nor_two_uses_have_an_address_in_common() -> None:
    subnet = IPv4Network("172.18.0.0/16")
    found = [place(tag, purpose, subnet) for tag in ("a", "b") for purpose in ("ports", "mesh")]
    assert len({one.prefix for one in found if one}) == 4
    assert len({one.device for one in found if one}) == 4
    assert len({one.client for one in found if one}) == 2


def test_no_container_gets_the_address_of_a_client() -> None:
    subnet = IPv4Network("10.0.0.0/28")
    pool = AddressPool(subnet)
    given = {pool.take(str(number)) for number in range(11)}
    clients = {place("a", purpose, subnet).client for purpose in ("ports", "mesh")}  # type: ignore[union-attr]
    assert clients == set(clients_of_translations(subnet))
    assert not given & clients


def test_a_small_subnet_has_no_room_and_loses_none_to_it() -> None:
    assert place("a", "ports", IPv4Network("10.0.0.0/29")) is None
    pool = AddressPool(IPv4Network("10.0.0.0/30"))
    assert str(pool.take("a")) == "10.0.0.2"
