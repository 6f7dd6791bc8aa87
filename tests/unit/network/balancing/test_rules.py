"""The texts of virtual IPs, and which flows end."""

import json
from ipaddress import ip_address
from random import Random

import pytest

from shoal.errors import ShoalError
from shoal.network.balancing.rules import (
    TABLE,
    Virtual,
    again,
    behind,
    differing,
    ended,
    is_stale,
    read,
    removal,
    start,
    update,
)
from shoal.network.rtnetlink import Address

VIP, OTHER = ip_address("10.0.1.3"), ip_address("10.0.1.4")
A, B, C = (ip_address(f"10.0.1.{last}") for last in (5, 6, 7))


def virtual(*backends: Address, leaving: tuple[Address, ...] = (), address: Address = VIP) -> Virtual:
    return Virtual(address, frozenset(backends), frozenset(leaving))


def text(known: list[Virtual], wanted: list[Virtual], seed: int = 1) -> list[str]:
    made = update({one.address: one for one in known}, {one.address: one for one in wanted}, Random(seed))
    return made.replace(f" {TABLE}", "").splitlines()


def test_a_new_virtual_ip_has_its_chain_before_anything_leads_there() -> None:
    assert text([], [virtual(A)]) == [
        "add chain vip_0a000103",
        "flush chain vip_0a000103",
        "add rule vip_0a000103 dnat ip to 10.0.1.5",
        "add element vips4 { 10.0.1.3 : goto vip_0a000103 }",
    ]


def test_several_backends_take_turns_and_a_packet_in_between_finds_one_too() -> None:
    lines = text([virtual(A)], [virtual(A, B, C)])
    assert lines[:2] == ["add chain vip_0a000103", "flush chain vip_0a000103"]
    assert lines[2].startswith("add rule vip_0a000103 dnat ip to numgen inc mod 3 map { 0 : ")
    assert {str(one) for one in (A, B, C)} == {part.split()[2] for part in lines[2].partition("{ ")[2].split(",")}
    assert lines[3].split()[-1] in {str(A), str(B), str(C)}
    assert len(lines) == 4


def test_each_text_begins_with_another_backend() -> None:
    first = {text([], [virtual(A, B, C)], seed)[2].split("0 : ")[1].split(",")[0] for seed in range(20)}
    assert first == {str(A), str(B), str(C)}


def test_without_a_backend_it_is_refused() -> None:
    assert text([virtual(A)], [virtual(leaving=(A,))])[2:] == [
        "add rule vip_0a000103 meta l4proto tcp reject with tcp reset",
        "add rule vip_0a000103 reject",
    ]


def test_only_what_changed_is_written() -> None:
    same = [virtual(A, address=OTHER), virtual(A, B)]
    assert text(same, same) == []
    assert text(same, [same[0], virtual(A, B, leaving=(C,))]) == []
    assert all("vip_0a000103" in line for line in text(same, [same[0], virtual(A)]))


def test_a_virtual_ip_that_is_gone_is_taken_out_before_its_chain() -> None:
    assert text([virtual(A)], []) == [
        "delete element vips4 { 10.0.1.3 : goto vip_0a000103 }",
        "flush chain vip_0a000103",
        "delete chain vip_0a000103",
    ]


def test_of_an_unknown_state_all_is_written_and_nothing_is_added_twice() -> None:
    lines = update({VIP: None, OTHER: None}, {VIP: virtual(A)}, Random(1)).splitlines()
    assert not [line for line in lines if line.startswith("add element")]
    assert len([line for line in lines if line.startswith("delete chain")]) == 1


def test_ipv6_has_a_map_of_its_own_and_no_backend_of_the_other_family() -> None:
    six = ip_address("fd00::3")
    lines = text([], [virtual(ip_address("fd00::5"), A, address=six)])
    assert lines[2] == f"add rule vip_{six.packed.hex()} dnat ip6 to fd00::5"
    assert lines[3] == f"add element vips6 {{ fd00::3 : goto vip_{six.packed.hex()} }}"


def test_the_table_is_never_taken_away() -> None:
    assert "delete" not in start()
    assert start().index("flush chain") < start().index("add rule")


def test_connections_are_tracked_before_there_is_a_backend() -> None:
    assert "ct direction reply accept" in start()


@pytest.mark.parametrize(
    ("known", "wanted", "flows"),
    [
        ([virtual(A, B)], [virtual(A, leaving=(B,))], {}),
        ([virtual(A, leaving=(B,))], [virtual(A)], {VIP: {B}}),
        ([virtual(A, B)], [virtual(C)], {VIP: {A, B}}),
        ([virtual(A)], [], {VIP: None}),
        ([], [virtual(A)], {VIP: {VIP}}),
        ([virtual()], [virtual(A)], {}),
    ],
)
def test_flows_end_with_their_backends(
    known: list[Virtual], wanted: list[Virtual], flows: dict[Address, set[Address] | None]
) -> None:
    assert ended({one.address: one for one in known}, {one.address: one for one in wanted}).to == flows


def test_flows_to_nobody_who_is_wanted_are_stale() -> None:
    wanted = {VIP: virtual(A, leaving=(B,))}
    assert [is_stale(wanted, VIP, one) for one in (A, B, C, VIP)] == [False, False, True, True]
    assert is_stale({}, VIP, A)


def test_written_again_all_of_it_is_said_and_what_others_put_there_is_flushed() -> None:
    text = again({VIP: virtual(A)}, Random(1))
    assert text.startswith(start())
    assert text.index(f"flush map {TABLE} vips4") < text.index(f"add element {TABLE} vips4")
    assert text.endswith(update({}, {VIP: virtual(A)}, Random(1)))
    assert again({}, Random(1)) == ""
    assert removal().splitlines() == [f"add table {TABLE}", f"delete table {TABLE}"]


def test_what_differs_leads_to_the_same_text_and_the_same_ends() -> None:
    known, wanted = {VIP: virtual(A), OTHER: Virtual(OTHER)}, {VIP: virtual(A, B), OTHER: Virtual(OTHER)}
    before, after = differing(known, wanted)
    assert (before, after) == ({VIP: virtual(A)}, {VIP: virtual(A, B)})
    assert update(before, after, Random(1)) == update(known, wanted, Random(1))
    assert ended(after, before) == ended(wanted, known)
    assert differing(known, {VIP: virtual(A)}) == ({OTHER: Virtual(OTHER)}, {})


@pytest.mark.parametrize(
    "listing", ["", "[]", '{"nftables": [1]}', '{"nftables": [{"map": {"name": "vips4", "elem": [5]}}]}']
)
def test_a_listing_that_cannot_be_read_is_an_error(listing: str) -> None:
    with pytest.raises(ShoalError, match="cannot be read"):
        read(listing)


def test_who_is_behind_a_virtual_ip_is_read_from_its_rules() -> None:
    def rule(chain: str, *expressions: object) -> dict[str, object]:
        return {"rule": {"chain": chain, "expr": list(expressions)}}

    taking_turns = {"map": {"key": {"numgen": {"mod": 2}}, "data": {"set": [[0, str(A)], [1, str(B)]]}}}
    listing = {
        "nftables": [
            {"metainfo": {}},
            {"map": {"name": "vips4", "elem": [[str(VIP), {"goto": {}}], [str(OTHER), {"goto": {}}]]}},
            rule("output", {"dnat": {"addr": str(C)}}),
            rule("vip_0a000103", {"dnat": {"family": "ip", "addr": taking_turns}}),
            rule("vip_0a000103", {"dnat": {"family": "ip", "addr": str(B)}}),
            rule("vip_0a000104", {"match": {}}, {"reject": {"type": "tcp reset"}}),
        ]
    }
    assert behind(json.dumps(listing)) == {VIP: {A, B}, OTHER: frozenset()}
    listing["nftables"].append(rule("vip_0a000103", {"dnat": {"addr": {"map": 5}}}))
    with pytest.raises(ShoalError, match="cannot be read"):
        behind(json.dumps(listing))
