from shoal.manager.allocator.addresses import parse_subnet
from shoal.manager.allocator.subnets import Subnets


def take(subnets: Subnets, count: int = 1) -> list[str]:
    return [str(subnets.take("n")) for _ in range(count)]


def test_subnets_come_from_swarms_default_pool() -> None:
    subnets = Subnets()
    assert take(subnets, 3) == ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]


def test_a_freed_subnet_rests() -> None:
    subnets = Subnets()
    subnets.configure(["10.0.0.0/22"], 24)
    take(subnets, 3)
    subnets.release(parse_subnet("10.0.1.0/24"), "n")
    assert take(subnets, 3) == ["10.0.3.0/24", "10.0.1.0/24", "None"]


def test_what_was_asked_for_by_name_is_stepped_over() -> None:
    subnets = Subnets()
    subnets.hold(parse_subnet("10.0.0.128/25"), "a")
    subnets.hold(parse_subnet("10.0.2.0/23"), "b")
    assert take(subnets, 2) == ["10.0.1.0/24", "10.0.4.0/24"]


def test_an_overlap_is_seen_from_either_side() -> None:
    subnets = Subnets()
    subnets.hold(parse_subnet("10.0.0.0/16"), "a")
    for text in ("10.0.0.0/8", "10.0.0.0/16", "10.0.255.0/24"):
        found = subnets.owner_of(parse_subnet(text))
        assert found is not None
        assert found[1] == "a"
    assert subnets.owner_of(parse_subnet("10.1.0.0/16")) is None
    assert subnets.owner_of(parse_subnet("fd00::/16")) is None


def test_pools_are_used_one_after_the_other() -> None:
    subnets = Subnets()
    subnets.configure(["10.0.0.0/24", "fd00::/120"], 25)
    assert take(subnets, 2) == ["10.0.0.0/25", "10.0.0.128/25"]
    subnets.configure(["10.1.0.0/25", "10.2.0.0/24"], 25)
    assert take(subnets, 4) == ["10.1.0.0/25", "10.2.0.0/25", "10.2.0.128/25", "None"]


def test_a_new_leader_goes_on_behind_the_highest_subnet() -> None:
    subnets = Subnets()
    subnets.hold(parse_subnet("10.0.7.0/24"), "a")
    subnets.hold(parse_subnet("192.168.0.0/24"), "b")
    subnets.go_on([parse_subnet("10.0.7.0/24"), parse_subnet("192.168.0.0/24")])
    assert take(subnets) == ["10.0.8.0/24"]


def test_overlapping_records_are_both_kept() -> None:
    """Only another program can have written such records. While one of them exists, no other network gets the
    subnet.
    """
    subnets = Subnets()
    subnets.hold(parse_subnet("10.0.0.0/24"), "a")
    subnets.hold(parse_subnet("10.0.0.0/16"), "b")
    assert subnets.owner_of(parse_subnet("10.0.9.0/24")) == (parse_subnet("10.0.0.0/16"), "b")
    subnets.release(parse_subnet("10.0.0.0/24"), "a")
    assert subnets.owner_of(parse_subnet("10.0.0.0/24")) == (parse_subnet("10.0.0.0/16"), "b")
    subnets.release(parse_subnet("10.0.0.0/16"), "b")
    assert len(subnets) == 0
    assert subnets.owner_of(parse_subnet("10.0.0.0/8")) is None


def test_a_pool_with_ten_thousand_networks_is_quick() -> None:
    subnets = Subnets()
    for number in range(10_000):
        subnets.take(str(number))
    assert len(subnets) == 10_000
    assert subnets.of("9999") == [parse_subnet("10.39.15.0/24")]
