"""Which containers get addresses of IPv6, and when; cluster/test_host_ports6 has a real kernel."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, cast

import pytest

from shoal.network.host_ports import direct as module
from shoal.network.host_ports.direct import Direct, address6, gateway6
from shoal.network.host_ports.ports import Lead, Published
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import NEW_ROUTE, Link, Request

PREFIX = IPv6Network("fd00:1:2:3::/64")
ONE, TWO = IPv4Address("172.18.0.2"), IPv4Address("172.18.0.3")
WEB: Published = ("tcp", 8080)
DNS: Published = ("udp", 53)
LEADS = {WEB: Lead("a", ONE, 80), DNS: Lead("b", TWO, 5353)}


class Inside:
    """A container's namespace: one link with its addresses."""

    def __init__(self, address: IPv4Address) -> None:
        self.addresses: list[Any] = [address]
        self.routes = 0
        self.other_way = False

    def run(self, *requests: Request) -> list[Any]:
        for one in requests:
            if one.type == NEW_ROUTE:
                if self.other_way:
                    raise OSError(errno.EEXIST, "File exists")
                self.routes += 1
        return []


class Site:
    def __init__(self) -> None:
        self.inside = {"a": Inside(ONE), "b": Inside(TWO)}
        self.listening: set[Published] = set()
        self.set: list[str] = []
        self.entered: list[str] = []


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    monkeypatch.setattr(module, "set_sysctl", lambda name, value: made.set.append(f"{name}={value}"))
    monkeypatch.setattr(module.rtnetlink, "addresses", lambda replies: [(7, one) for one in made.current.addresses])  # type: ignore[attr-defined]
    monkeypatch.setattr(module.rtnetlink, "links", lambda replies: [Link(7, "eth0", up=True, master=0)])  # type: ignore[attr-defined]
    return made


@pytest.fixture
def direct(site: Site, monkeypatch: pytest.MonkeyPatch) -> Direct:
    made = Direct("shoalt", PREFIX, lambda container: Path(container))

    @contextmanager
    def inside(container: str) -> Iterator[NetlinkSocket]:
        if container not in site.inside:
            raise FileNotFoundError(container)
        site.entered.append(container)
        site.current = site.inside[container]  # type: ignore[attr-defined]
        yield cast(NetlinkSocket, site.inside[container])

    monkeypatch.setattr(made, "_inside", inside)
    monkeypatch.setattr(made, "_listens", lambda port, lead: port in site.listening)
    return made


def test_an_address_is_the_containers_other_one() -> None:
    assert address6(PREFIX, ONE) == IPv6Address("fd00:1:2:3::ac12:2")
    assert gateway6(PREFIX) == IPv6Address("fd00:1:2:3::1")


def test_only_who_listens_gets_one_and_takes_no_routers_word(site: Site, direct: Direct) -> None:
    assert direct.look(LEADS) == {}
    assert not site.set
    site.listening = {WEB}
    for _ in range(2):
        assert direct.look(LEADS) == {WEB: (address6(PREFIX, ONE), 80)}
    assert site.inside["a"].routes == 1
    assert site.inside["b"].routes == 0
    assert site.set[:2] == ["ipv6/conf/eth0/accept_ra=0", "ipv6/conf/eth0/accept_redirects=0"]
    assert site.set[-1] == "ipv6/conf/eth0/disable_ipv6=0"
    site.listening = {DNS}
    assert direct.look(LEADS) == {DNS: (address6(PREFIX, TWO), 5353)}


def test_what_the_last_run_gave_is_taken_over(site: Site, direct: Direct) -> None:
    site.listening = {WEB}
    site.inside["a"].addresses.append(address6(PREFIX, ONE))
    assert direct.look(LEADS) == {WEB: (address6(PREFIX, ONE), 80)}
    assert site.inside["a"].routes == 0


def test_one_with_another_way_out_stays_without(site: Site, direct: Direct) -> None:
    site.listening = {WEB}
    site.inside["a"].other_way = True
    assert direct.look(LEADS) == {}
    assert site.set[-1] == "ipv6/conf/eth0/disable_ipv6=1"
    site.entered.clear()
    assert direct.look(LEADS) == {}
    assert site.entered == ["b"]  # it is not tried again and again
    direct.look({})
    site.inside["a"].other_way = False
    assert WEB in direct.look(LEADS)


def test_one_that_is_gone_is_no_hindrance(site: Site, direct: Direct) -> None:
    site.listening = {WEB, DNS}
    del site.inside["a"]
    assert direct.look(LEADS) == {DNS: (address6(PREFIX, TWO), 5353)}


def test_one_that_took_its_own_address_away_ends_nothing(site: Site, direct: Direct) -> None:
    site.listening = {WEB, DNS}
    site.inside["a"].addresses.clear()
    assert direct.look(LEADS) == {DNS: (address6(PREFIX, TWO), 5353)}


def test_the_bridge_is_without_again(site: Site, direct: Direct) -> None:
    direct.remove()
    direct.close()
    assert site.set == ["ipv6/conf/shoalt/disable_ipv6=1"]
