"""The text that nft gets; cluster/test_host_ports asks a kernel what it does."""

import json
from ipaddress import IPv4Address, IPv4Network

from shoal.network.host_ports.ports import Lead
from shoal.network.host_ports.rules import places, remove, rules

SUBNET = IPv4Network("172.18.0.0/16")
LEADS = {
    ("udp", 53): Lead("b", IPv4Address("172.18.0.3"), 5353),
    ("tcp", 8080): Lead("a", IPv4Address("172.18.0.2"), 80),
}


def text() -> list[str]:
    return rules("shoal_a1_ports", "shoala1", SUBNET, LEADS).splitlines()  # type: ignore[arg-type]


def test_the_map_says_where_each_port_leads_and_is_filled_anew() -> None:
    assert text()[:4] == [
        "add table ip shoal_a1_ports",
        "add map ip shoal_a1_ports ports { type inet_proto . inet_service : ipv4_addr . inet_service; }",
        "flush map ip shoal_a1_ports ports",
        "add element ip shoal_a1_ports ports { tcp . 8080 : 172.18.0.2 . 80, udp . 53 : 172.18.0.3 . 5353 }",
    ]


def test_without_ports_nothing_is_added() -> None:
    assert "add element" not in rules("shoal_a1_ports", "shoala1", SUBNET, {})


def test_they_lead_on_from_outside_and_from_the_host_itself() -> None:
    redirect = "fib daddr type local dnat ip to meta l4proto . th dport map @ports"
    chains = [line for line in text() if line.startswith("add chain")]
    assert [line.split(maxsplit=4)[4] for line in chains] == [
        "loopback { type filter hook prerouting priority raw; policy accept; }",
        "arriving { type nat hook prerouting priority dstnat; policy accept; }",
        "own { type nat hook output priority -100; policy accept; }",
        "source { type nat hook postrouting priority srcnat; policy accept; }",
    ]
    for chain in ("arriving", "own"):
        assert f"flush chain ip shoal_a1_ports {chain}" in text()
        assert f"add rule ip shoal_a1_ports {chain} {redirect}" in text()


def test_only_what_could_not_be_answered_is_seen_as_the_host() -> None:
    rule = 'oifname "shoala1" ct status dnat ip saddr { 127.0.0.0/8, 172.18.0.0/16 } masquerade'
    assert f"add rule ip shoal_a1_ports source {rule}" in text()


def test_no_container_reaches_what_listens_on_the_hosts_loopback() -> None:
    assert 'add rule ip shoal_a1_ports loopback iifname "shoala1" ip daddr 127.0.0.0/8 drop' in text()


def test_nothing_is_deleted_while_a_port_leads_anywhere() -> None:
    assert not [line for line in text() if line.startswith("delete")]


def test_removing_works_whether_or_not_the_table_is_there() -> None:
    assert remove("shoal_a1_ports") == "add table ip shoal_a1_ports\ndelete table ip shoal_a1_ports\n"


def listed(*elements: object, name: str = "ports") -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {}}, {"map": {"name": name, "elem": elements}}]})


def test_where_ports_lead_is_read_from_what_nft_lists() -> None:
    one = [{"concat": ["tcp", 8080]}, {"concat": ["172.18.0.2", 80]}]
    assert places(listed(one)) == {("tcp", 8080): (IPv4Address("172.18.0.2"), 80)}
    assert places(json.dumps({"nftables": [{"map": {"name": "ports"}}]})) == {}


def test_what_somebody_else_wrote_there_is_left_out() -> None:
    foreign: list[object] = [
        ["x", "y"],
        [{"concat": ["tcp", 1]}],
        [{"concat": ["icmp", 1]}, {"concat": ["172.18.0.2", 80]}],
        [{"concat": ["tcp", "x"]}, {"concat": ["172.18.0.2", 80]}],
        [{"concat": ["tcp", 1]}, {"concat": ["nowhere", 80]}],
        [{"concat": ["tcp", 1]}, {"set": []}],
        7,
    ]
    assert places(listed(*foreign)) == {}
    assert places(listed([{"concat": ["tcp", 1]}, {"concat": ["172.18.0.2", 80]}], name="other")) == {}
