"""What a balancer writes into namespaces, with an nft and a connection tracking that only remember."""

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import cast

import pytest

from shoal.errors import ShoalError
from shoal.network.balancing import flows
from shoal.network.balancing.balancer import MOST_COUNTED, Balancer
from shoal.network.balancing.rules import Found, Virtual
from shoal.network.kernel.nftables import Refused
from shoal.network.kernel.watched import Watched
from shoal.network.rtnetlink import Address, Reply, Request, attribute
from tests.unit.network.balancing.test_flows import listed

VIP = ip_address("10.0.1.3")
A, B = ip_address("10.0.1.5"), ip_address("10.0.1.6")


class Nft:
    """Has no table until one was written; then as many virtual IPs as `there` says."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.conntrack = Conntrack()
        self.there: set[Address] | None = None
        self.refuses = ""
        self.listing = ""  # what there is, as JSON

    def addresses(self, netns: int, table: str, maps: list[str]) -> set[Address] | None:
        return self.there

    def ask(self, netns: int, request: Request, most: int) -> list[Reply]:
        return self.conntrack.run(request)

    def socket(self, netns: int) -> "Conntrack":
        return self.conntrack

    def drop_socket(self, netns: int) -> None:
        pass

    def run(self, text: str, netns: int, *, json: bool = False) -> str:
        if json:
            if not self.listing:
                raise Refused("No such file or directory")
            return self.listing
        self.texts.append(text)
        if self.refuses and text.startswith(self.refuses):
            raise Refused("Device or resource busy")
        return ""


class Conntrack:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.flows: list[tuple[Address, Address]] = []  # to whom, and who answers
        self.failing: int | None = None
        self.asked = 0  # lists
        self.full = False

    def run(self, request: Request) -> list[Reply]:
        if request.type == 0x105:
            return [Reply(0x105, 1, bytes(4) + attribute(1, len(self.flows).to_bytes(4, "big")))]
        raise AssertionError(request.type)

    def stream(self, request: Request) -> Iterator[Reply]:
        self.asked += 1
        while self.full:
            yield listed(VIP, A)
        yield from (listed(*one, number=one[1].packed) for one in self.flows)

    def try_all(self, requests: Sequence[Request]) -> list[int]:
        if self.failing:
            return [self.failing] * len(requests)
        self.requests += requests
        self.flows = [one for one in self.flows if deletion(*one) not in requests]
        return [0] * len(requests)


def deletion(to: Address, answers: Address) -> Request:
    found = flows.flow(listed(to, answers, number=answers.packed))
    assert found is not None
    return flows.delete(found)


@pytest.fixture
def nft() -> Nft:
    return Nft()


@pytest.fixture
def conntrack(nft: Nft) -> Conntrack:
    return nft.conntrack


@pytest.fixture
def balancer(nft: Nft) -> Balancer:
    return Balancer(cast(Watched, nft), Random(1))


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
    conntrack.flows = [(VIP, A), (VIP, B), (B, B)]
    for backends, leaving in (({A, B}, ()), ({A, B}, ()), ({A}, {B}), ({A}, ())):
        balancer.apply(tmp_path / "ns", {VIP: Virtual(VIP, frozenset(backends), frozenset(leaving))})
    assert len(nft.texts) == 2
    assert "table" not in nft.texts[1].split()[1]
    assert conntrack.requests == [deletion(VIP, B)]


def test_what_began_before_a_virtual_ip_was_there_ends_and_nothing_is_asked_of_what_has_no_flow(
    balancer: Balancer, conntrack: Conntrack, tmp_path: Path
) -> None:
    quiet: list[tuple[Address, Address]] = []
    for name, began in (("quiet", quiet), ("busy", [(VIP, VIP), (VIP, A)])):
        (tmp_path / name).touch()
        conntrack.flows = began
        balancer.apply(tmp_path / name, {VIP: Virtual(VIP, frozenset({A}))})
        balancer.apply(tmp_path / name, {VIP: Virtual(VIP, frozenset({B}))})
    assert conntrack.requests == [deletion(VIP, VIP), deletion(VIP, A)]


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
    conntrack.failing, conntrack.flows = 95, [(VIP, A)]
    with pytest.raises(ShoalError, match="1 of 1 connections cannot be ended: Operation not supported"):
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
    conntrack.flows = [(VIP, VIP)]
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


def test_what_the_kernel_has_is_looked_up_and_its_connections_counted_up_to_a_number(
    balancer: Balancer, nft: Nft, conntrack: Conntrack, tmp_path: Path
) -> None:
    (tmp_path / "ns").touch()
    assert balancer.look(tmp_path / "ns") == {}
    nft.listing = json.dumps(
        {
            "nftables": [
                {"map": {"name": "vips4", "elem": [[str(VIP), {}]]}},
                {"rule": {"chain": f"vip_{VIP.packed.hex()}", "expr": [{"dnat": {"addr": str(B)}}]}},
            ]
        }
    )
    conntrack.full = True
    assert balancer.look(tmp_path / "ns") == {VIP: Found(frozenset({B}), {A: MOST_COUNTED})}
    assert nft.texts == []
