"""Subnets and addresses of the host's own bridge."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from shoal.errors import ShoalError
from shoal.network import addresses
from shoal.network.addresses import AddressPool, candidates, choose_subnet

SMALL = IPv4Network("192.168.0.0/29")


def test_a_subnet_overlaps_no_route_of_the_host() -> None:
    used = [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/18")]
    chosen = choose_subnet("node", used)
    assert not any(chosen.overlaps(network) for network in used)
    assert chosen.subnet_of(IPv4Network("192.168.0.0/16"))


def test_the_default_route_takes_no_subnet() -> None:
    assert choose_subnet("node", [IPv4Network("0.0.0.0/0")]) == next(candidates("node"))


def test_two_nodes_with_other_tags_start_elsewhere() -> None:
    assert len({next(candidates(tag)) for tag in ("a1", "b2", "c3", "d4", "e5", "f6")}) > 1


def test_every_candidate_comes_once() -> None:
    found = list(candidates("x"))
    assert len(found) == len(set(found)) == 31
    assert found[14] == IPv4Network("172.17.0.0/16")  # docker0's comes after the other wide ones


def test_no_subnet_left_is_an_error() -> None:
    with pytest.raises(ShoalError, match="non-overlapping"):
        choose_subnet("x", [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")])


def test_addresses_are_given_out_after_the_gateway_and_then_onwards() -> None:
    pool = AddressPool(SMALL)
    assert [str(pool.take(f"c{n}")) for n in range(3)] == ["192.168.0.2", "192.168.0.3", "192.168.0.4"]


def test_a_freed_address_rests_until_the_pool_has_gone_round() -> None:
    pool = AddressPool(SMALL)
    first = pool.take("a")
    pool.free(first, "a")
    assert [pool.take("b"), pool.take("c"), pool.take("d"), pool.take("e")] == [SMALL[3], SMALL[4], SMALL[5], SMALL[6]]
    assert pool.take("f") == first


def test_a_full_pool_refuses() -> None:
    pool = AddressPool(SMALL)
    for n in range(5):
        pool.take(f"c{n}")
    with pytest.raises(ShoalError, match="no available IPv4 addresses"):
        pool.take("late")


def test_an_address_is_freed_by_its_owner_alone() -> None:
    pool = AddressPool(SMALL)
    address = pool.take("a")
    pool.free(address, "b")
    assert len(pool) == 1
    pool.free(address, "a")
    assert len(pool) == 0


@pytest.mark.parametrize(
    ("address", "claimed"),
    [
        ("192.168.0.5", True),
        ("192.168.0.1", False),
        ("192.168.0.0", False),
        ("192.168.0.7", False),
        ("10.0.0.1", False),
    ],
)
def test_an_address_of_the_last_run_is_claimed_when_it_can_be(address: str, claimed: bool) -> None:
    assert AddressPool(SMALL).claim(IPv4Address(address), "a") is claimed


def test_a_claimed_address_is_not_given_out() -> None:
    pool = AddressPool(SMALL)
    assert pool.claim(SMALL[2], "old")
    assert not pool.claim(SMALL[2], "other")
    assert pool.claim(SMALL[2], "old")
    assert pool.take("new") == SMALL[3]


def test_the_mac_follows_the_address() -> None:
    assert addresses.mac_address(IPv4Address("172.18.0.2")) == "02:42:ac:12:00:02"


def test_name_servers_are_read_and_strange_lines_passed_over() -> None:
    text = "# comment\nnameserver 172.18.0.53\nnameserver fe80::1%eth0\nnameserver\nsearch example.org\n"
    assert addresses.name_servers(text) == [IPv4Network("172.18.0.53/32")]
