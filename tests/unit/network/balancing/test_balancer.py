"""What a balancer writes into namespaces, with an nft and a connection tracking that only remember."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import cast

import pytest

from shoal.errors import ShoalError
from shoal.network.balancing import balancer as module
from shoal.network.balancing.balancer import Balancer
from shoal.network.balancing.rules import Virtual
from shoal.network.kernel.nftables import Refused
from shoal.network.kernel.watched import Watched
from shoal.network.namespaces import Namespaces
from shoal.network.rtnetlink import Address, Reply, Request

VIP = ip_address("10.0.1.3")
A, B = ip_address("10.0.1.5"), ip_address("10.0.1.6")


class Nft:
    """Has no table until one was written; then as many virtual IPs as `there` says."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.there: set[Address] | None = None
        self.refuses = ""

    def addresses(self, netns: int, table: str, maps: list[str]) -> set[Address] | None:
        return self.there

    def run(self, text: str, netns: int) -> str:
        self.texts.append(text)
        if self.refuses and text.startswith(self.refuses):
            raise Refused("Device or resource busy")
        return ""


class Conntrack:
    requests: list[Request]
    failing: int | None

    def __enter__(self) -> "Conntrack":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, request: Request) -> list[Reply]:
        if self.failing:
            raise OSError(self.failing, os.strerror(self.failing))
        self.requests.append(request)
        return []


class Here:
    @contextmanager
    def inside(self, netns: int) -> Iterator[None]:
        yield


@pytest.fixture
def nft() -> Nft:
    return Nft()


@pytest.fixture
def conntrack(monkeypatch: pytest.MonkeyPatch) -> Conntrack:
    made = Conntrack()
    made.requests, made.failing = [], None
    monkeypatch.setattr(module, "NetlinkSocket", lambda netfilter: made)
    return made


@pytest.fixture
def balancer(nft: Nft, conntrack: Conntrack) -> Balancer:
    return Balancer(cast(Namespaces, Here()), cast(Watched, nft), Random(1))


def test_a_container_without_a_virtual_ip_gets_no_table(balancer: Balancer, nft: Nft, tmp_path: Path) -> None:
    (tmp_path / "ns").touch()
    balancer.apply(tmp_path / "ns", {})
    assert nft.texts == []
    balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset({A}))})
    (text,) = nft.texts
    assert text.startswith("add table")
    assert "dnat ip to 10.0.1.5" in text


def test_a_change_is_written_alone_and_what_is_the_same_not_at_all(
    balancer: Balancer, nft: Nft, conntrack: Conntrack, tmp_path: Path
) -> None:
    (tmp_path / "ns").touch()
    for backends, leaving in (({A, B}, ()), ({A, B}, ()), ({A}, {B}), ({A}, ())):
        balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset(backends), frozenset(leaving))})
    assert len(nft.texts) == 2
    assert "table" not in nft.texts[1].split()[1]
    assert [request.type for request in conntrack.requests] == [0x101, 0x102]  # a list at first; B's flows at last


def test_a_namespace_with_the_same_path_is_looked_at_anew(balancer: Balancer, nft: Nft, tmp_path: Path) -> None:
    wanted = {VIP: Virtual(VIP, frozenset({A}))}
    (tmp_path / "ns").touch()
    balancer.apply(tmp_path / "ns", wanted)
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(tmp_path / "ns")
    balancer.apply(tmp_path / "ns", wanted)
    assert len(nft.texts) == 2
    balancer.forget(tmp_path / "ns")
    nft.there = {VIP, ip_address("10.0.1.4")}
    balancer.apply(tmp_path / "ns", wanted)
    assert "delete element inet shoal_vips vips4 { 10.0.1.4 " in nft.texts[2]
    assert "add element" not in nft.texts[2]


def test_after_an_error_it_looks_again(balancer: Balancer, nft: Nft, conntrack: Conntrack, tmp_path: Path) -> None:
    (tmp_path / "ns").touch()
    balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset({A}))})
    conntrack.failing = 95
    with pytest.raises(ShoalError, match=r"cannot end the connections to 10\.0\.1\.3"):
        balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset({B}))})
    conntrack.failing = None
    balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset({B}))})
    assert nft.texts[-1].startswith("add table")


def test_what_somebody_else_has_changed_is_written_again_whole(
    balancer: Balancer, nft: Nft, conntrack: Conntrack, tmp_path: Path
) -> None:
    balancer.write_again(tmp_path / "ns")
    (tmp_path / "ns").touch()
    balancer.apply(tmp_path / "ns", {})
    balancer.write_again(tmp_path / "ns")
    assert nft.texts == []  # nothing of ours is there
    wanted = {VIP: Virtual(VIP, frozenset({A}))}
    balancer.apply(tmp_path / "ns", wanted)
    conntrack.requests.clear()
    balancer.write_again(tmp_path / "ns")
    assert "flush map inet shoal_vips vips4" in nft.texts[-1]
    assert "dnat ip to 10.0.1.5" in nft.texts[-1]
    assert len(conntrack.requests) == 1  # what began meanwhile
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(tmp_path / "ns")
    balancer.write_again(tmp_path / "ns")
    assert len(nft.texts) == 2  # it is another namespace, which the next apply looks at


def test_a_table_that_was_spoilt_is_made_anew(balancer: Balancer, nft: Nft, tmp_path: Path) -> None:
    (tmp_path / "ns").touch()
    wanted = {VIP: Virtual(VIP, frozenset({A}))}
    nft.refuses = "add table inet shoal_vips\nadd map"
    balancer.apply(tmp_path / "ns", wanted)
    balancer.write_again(tmp_path / "ns")
    assert [text.splitlines()[1].split()[0] for text in nft.texts] == ["add", "delete"] * 2
