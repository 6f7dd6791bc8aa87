from ipaddress import IPv4Address, IPv4Network

import pytest

from shoal.errors import ShoalError
from shoal.network.local.pool import Pool

NET = IPv4Network("192.0.2.0/29")


def test_addresses_rise_and_a_freed_one_rests() -> None:
    pool = Pool(NET, NET[1])
    assert [str(pool.take(name, "lan")) for name in "abc"] == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
    pool.free("a")
    assert [str(pool.take(name, "lan")) for name in "def"] == ["192.0.2.5", "192.0.2.6", "192.0.2.2"]
    with pytest.raises(ShoalError, match=r"^no available IPv4 addresses on this network's address pools: lan$"):
        pool.take("g", "lan")
    assert pool.owners() == set("bcdef")
    assert len(pool) == 5


def test_only_a_part_is_given_and_what_is_kept_is_nobodys() -> None:
    pool = Pool(NET, NET[6], IPv4Network("192.0.2.4/30"), [IPv4Address("192.0.2.4")])
    assert str(pool.take("a", "lan")) == "192.0.2.5"
    with pytest.raises(ShoalError):
        pool.take("b", "lan")


def test_who_had_an_address_before_keeps_it() -> None:
    pool = Pool(NET, NET[1])
    pool.claim(NET[4], "old")
    assert [str(pool.take(name, "lan")) for name in "abcd"] == ["192.0.2.5", "192.0.2.6", "192.0.2.2", "192.0.2.3"]
