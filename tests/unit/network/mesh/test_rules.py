"""The mesh's packet rules as text."""

from dataclasses import replace
from random import Random

import pytest

from shoal.network.mesh.rules import chain, port_of, remove, rules
from tests.unit.network.mesh.meshes import LOCAL, MESH, REMOTE


def lines(mesh: object = MESH, *known: tuple[str, int]) -> list[str]:
    return rules(mesh, known, Random(1)).replace("ip shoal_t1_mesh ", "").splitlines()  # type: ignore[arg-type]


def test_a_published_port_leads_to_each_task_in_turn_and_to_one_in_between() -> None:
    port = [line for line in lines() if line.startswith("add rule port_tcp_8080")]
    assert port[0] == "add rule port_tcp_8080 ct mark set 0x5a800000 meta mark set 0x5a800000"
    assert "numgen inc mod 2 map" in port[1]
    assert all(f"{one.address} . {one.port}" in port[1] for one in (LOCAL, REMOTE))
    assert port[2].split()[-1] in {f"{one.address}:{one.port}" for one in (LOCAL, REMOTE)}


def test_a_published_port_without_a_task_is_refused() -> None:
    port = [line for line in lines(replace(MESH, published={("tcp", 8080): frozenset()})) if "port_tcp_8080 " in line]
    assert port[-2:] == [
        "add rule port_tcp_8080 meta l4proto tcp reject with tcp reset",
        "add rule port_tcp_8080 reject",
    ]


def test_nothing_in_use_is_deleted() -> None:
    text = lines(MESH, ("tcp", 8080), ("udp", 53))
    assert [line for line in text if line.startswith("delete")] == ["delete chain port_udp_53"]
    # The map that led there is filled anew before.
    assert text.index("flush map published") < text.index("delete chain port_udp_53")
    assert text.index("add chain port_tcp_8080") < next(
        i for i, line in enumerate(text) if "goto port_tcp_8080" in line
    )


def test_the_outer_packet_is_not_routed_by_the_inner_ones_mark() -> None:
    assert "add rule clear meta mark and 0xff000000 == 0x5a000000 meta mark set 0" in lines()


def test_what_is_not_published_is_dropped_when_it_comes_by_ingress() -> None:
    for name in ("forward", "input"):
        body = [line for line in lines() if line.startswith(f"add rule {name} ")]
        assert body[-1] == f"add rule {name} drop"
        assert f'add rule {name} iifname != "vxit1" accept' in body


def test_the_clients_address_is_kept_but_where_no_way_leads_back() -> None:
    source = [line for line in lines() if line.startswith("add rule source") and "snat" in line]
    assert [
        line.removeprefix('add rule source oifname "vxit1" ').removesuffix(" snat to 10.0.0.2") for line in source
    ] == [
        "ip daddr @without_source",
        "ip saddr @nodes",
        "ip saddr @own_subnets",
        "fib saddr type local",
        # A service that asks for Docker's way has it on every node, also where its task is.
        'add rule source oifname "shoalt1" ct mark 0x5a800000 ip daddr @without_source',
    ]


def test_empty_sets_have_no_elements() -> None:
    assert not [line for line in lines() if line.startswith("add element without_source")]


@pytest.mark.parametrize("port", [("tcp", 80), ("udp", 65535), ("sctp", 1)])
def test_a_chain_tells_its_port(port: tuple[str, int]) -> None:
    assert port_of(chain(port)) == port  # type: ignore[arg-type]
    assert port_of("forward") is None
    assert port_of("port_tcp_x") is None


def test_removal_names_both_tables() -> None:
    assert remove("t").count("delete table") == 2
