import pytest

from shoal.errors import InvariantBroken
from shoal.manager.allocator.addresses import parse_address, parse_subnet, text_of
from shoal.manager.allocator.pool import Pool


def pool(subnet: str, within: str = "") -> Pool:
    return Pool(parse_subnet(subnet), parse_subnet(within) if within else None)


def number(text: str) -> int:
    return parse_address(text)[0]


def take(of: Pool) -> str | None:
    taken = of.take()
    return None if taken is None else text_of(taken, of.subnet.bits)


def test_addresses_rise_and_a_freed_one_rests() -> None:
    made = pool("10.0.0.0/29")
    assert [take(made) for _ in range(3)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert made.release(number("10.0.0.1"))
    assert [take(made) for _ in range(5)] == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.1", None]
    assert made.free == 0


def test_network_and_broadcast_are_nobodys_in_ipv4() -> None:
    assert pool("10.0.0.0/24").free == 254
    assert pool("10.0.0.0/31").free == 2
    assert pool("fd00::/120").free == 255


def test_only_the_range_is_given_but_the_rest_can_be_asked_for() -> None:
    made = pool("10.0.0.0/24", "10.0.0.128/30")
    assert made.free == 4
    assert [take(made) for _ in range(5)] == ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131", None]
    assert made.is_free(number("10.0.0.5"))
    assert made.hold(number("10.0.0.5"))
    assert made.free == 0


def test_an_address_is_free_when_its_last_holder_is_gone() -> None:
    made = pool("10.0.0.0/24")
    address = made.take()
    assert address is not None
    assert not made.hold(address)
    assert not made.release(address)
    assert made.release(address)
    assert made.free == 254
    with pytest.raises(InvariantBroken):
        made.release(address)


def test_a_reserved_address_is_never_given() -> None:
    made = pool("10.0.0.0/29")
    made.reserve(number("10.0.0.2"))
    assert [take(made) for _ in range(2)] == ["10.0.0.1", "10.0.0.3"]


def test_a_new_leader_goes_on_behind_the_highest_address() -> None:
    made = pool("10.0.0.0/29")
    made.hold(number("10.0.0.4"))
    made.go_on()
    assert [take(made) for _ in range(3)] == ["10.0.0.5", "10.0.0.6", "10.0.0.1"]


def test_a_large_pool_costs_nothing_before_it_is_used() -> None:
    made = pool("10.0.0.0/8")
    assert made.free == (1 << 24) - 2
    for _ in range(3000):  # over several words
        made.take()
    assert take(made) == "10.0.11.185"
    assert pool("fd00::/64").take() == number("fd00::1")
