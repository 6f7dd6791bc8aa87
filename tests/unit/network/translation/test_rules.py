"""The text that nft gets; cluster/test_host_ports6 asks a kernel what it does."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network

from shoal.network.translation.places import place
from shoal.network.translation.rules import Bridge, remove, rules

PLACE = place("t", "ports", IPv4Network("172.18.0.0/16"))
assert PLACE is not None
TEXT = rules("shoal_t_ports", PLACE, {("udp", 53), ("tcp", 8080)}).splitlines()
RULE = "add rule ip6 shoal_t_ports "


def of(chain: str) -> list[str]:
    begin = f"{RULE}{chain} "
    return [line.removeprefix(begin) for line in TEXT if line.startswith(begin)]


def test_exactly_the_published_ports_are_translated_from_outside_and_from_the_host() -> None:
    assert "flush set ip6 shoal_t_ports ports" in TEXT
    assert "add element ip6 shoal_t_ports ports { tcp . 8080, udp . 53 }" in TEXT
    assert PLACE is not None
    redirect = f"fib daddr type local meta l4proto . th dport @ports dnat to {PLACE.host6}"
    assert of("arriving") == of("own") == [redirect]
    assert of("source") == [f'oifname "s64pt" ct status dnat snat to {PLACE.client6}']
    assert "add element" not in rules("shoal_t_ports", PLACE, ())


def test_nobody_outside_speaks_to_or_as_what_is_this_hosts_alone() -> None:
    assert PLACE is not None
    assert of("foreign") == [
        f'iifname != "s64pt" ip6 daddr {PLACE.prefix} drop',
        f'iifname != "s64pt" ip6 saddr {PLACE.prefix} drop',
        'iifname != "lo" ip6 daddr ::1 drop',
        'iifname != "lo" ip6 saddr ::1 drop',
    ]


def test_only_what_was_published_goes_in_and_only_answers_come_back() -> None:
    answers = 'iifname "s64pt" ct direction original drop'
    assert PLACE is not None
    assert of("forward") == [
        answers,
        f'iifname "s64pt" ip6 daddr {PLACE.prefix} drop',
        'oifname "s64pt" ct status dnat accept',
        'oifname "s64pt" drop',
    ]
    assert of("input") == [answers]


def test_segments_fit_into_every_way() -> None:
    assert of("segments") == ['oifname "s64pt" tcp flags syn tcp option maxseg size set 1220']


def test_a_users_drop_comes_before() -> None:
    hooks = [line for line in TEXT if line.startswith("add chain")]
    assert any("arriving { type nat hook prerouting priority dstnat;" in line for line in hooks)
    assert not [line for line in TEXT if line.startswith("delete")]


def test_removing_works_whether_or_not_the_table_is_there() -> None:
    assert remove("shoal_t_ports") == "add table ip6 shoal_t_ports\ndelete table ip6 shoal_t_ports\n"


BRIDGE = Bridge("shoalt", IPv6Network("fd00:1:2:3::/64"))


def test_who_listens_on_ipv6_is_led_to_without_translation_but_not_from_containers() -> None:
    assert PLACE is not None
    direct = {("tcp", 8080): (IPv6Address("fd00:1:2:3::5"), 80)}
    text = rules("shoal_t_ports", PLACE, {("tcp", 8080)}, BRIDGE, direct)  # type: ignore[arg-type]
    assert "add element ip6 shoal_t_ports direct { tcp . 8080 : fd00:1:2:3::5 . 80 }" in text
    lines = [line for line in text.splitlines() if line.startswith(f"{RULE}arriving")]
    assert lines[0].endswith('iifname != "shoal*" fib daddr type local dnat ip6 to meta l4proto . th dport map @direct')
    assert len(lines) == 2
    # Of this host itself no connection is: it would need a way back for ::1 from containers.
    assert len([line for line in text.splitlines() if line.startswith(f"{RULE}own")]) == 1


def test_containers_with_ipv6_are_shut_in_whether_or_not_any_is_led_to() -> None:
    assert PLACE is not None
    text = rules("shoal_t_ports", PLACE, {("tcp", 8080)}, BRIDGE)
    for chain, last in (
        ("forward", 'iifname "shoalt" reject with icmpv6 type admin-prohibited'),
        ("forward", 'oifname "shoalt" drop'),
        ("input", 'iifname "shoalt" drop'),
        ("foreign", 'iifname != "shoalt" ip6 daddr fd00:1:2:3::/64 drop'),
        ("foreign", 'iifname != "shoalt" ip6 saddr fd00:1:2:3::/64 drop'),
    ):
        assert f"{RULE}{chain} {last}\n" in text
