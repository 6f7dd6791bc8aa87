"""Who has which port of the host, and which numbers are tried."""

from ipaddress import IPv4Address

import pytest

from shoal.network.host_ports import ports
from shoal.network.host_ports.ports import DEFAULT_RANGE, MOST_TRIES, Lead, candidates
from shoal.network.types import HostPort

ONE = IPv4Address("172.18.0.2")


def test_ports_of_a_container_lead_to_its_address() -> None:
    given = [HostPort("tcp", 80, 8080), HostPort("udp", 53, 8080)]
    leads = ports.leads("a", ONE, given)
    assert leads == {("tcp", 8080): Lead("a", ONE, 80), ("udp", 8080): Lead("a", ONE, 53)}
    assert ports.without({**leads, ("tcp", 1): Lead("b", ONE, 1)}, "a") == {("tcp", 1): Lead("b", ONE, 1)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("32768\t60999\n", (32768, 60999)),
        ("", DEFAULT_RANGE),
        ("9 8", DEFAULT_RANGE),
        ("0 9", DEFAULT_RANGE),
        ("1 70000", DEFAULT_RANGE),
        ("a b", DEFAULT_RANGE),
    ],
)
def test_the_kernels_range_counts_where_it_is_one(text: str, expected: tuple[int, int]) -> None:
    assert ports.local_range(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("\n", set()), ("7,9-11\n", {7, 9, 10, 11}), ("x,,6", {6}), ("65530-99999", set(range(65530, 65536)))],
)
def test_ports_that_the_owner_keeps_are_read(text: str, expected: set[int]) -> None:
    assert ports.reserved(text) == expected


def test_the_number_after_the_last_is_tried_first_and_each_once() -> None:
    assert list(candidates((10, 14), 0, ())) == [10, 11, 12, 13, 14]
    assert list(candidates((10, 14), 12, ())) == [13, 14, 10, 11, 12]
    assert list(candidates((10, 14), 14, {10, 12})) == [11, 13, 14]
    assert list(candidates((10, 14), 99, ())) == [10, 11, 12, 13, 14]


def test_the_search_ends() -> None:
    assert len(list(candidates((1, 65535), 0, ()))) == MOST_TRIES
    assert list(candidates((5, 6), 0, {5, 6})) == []
