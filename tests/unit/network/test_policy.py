"""Rules and routes by marks as bytes, to the kernel and back."""

from ipaddress import ip_address, ip_network

import pytest

from shoal.network import policy
from shoal.network.policy import MAIN, Rule, TableRoute
from shoal.network.rtnetlink import Reply


@pytest.mark.parametrize(
    "rule",
    [
        Rule(100, 0x5A000000, 0xFF000000, goto=40000),
        Rule(40001, 0x5A000003, 0xFFFFFFFF, table=0x5A000003),
        Rule(40002, table=MAIN),
    ],
)
def test_a_rule_is_read_as_it_was_made(rule: Rule) -> None:
    assert policy.rules([Reply(32, 1, policy.add_rule(rule).body), Reply(3, 1, b"")]) == [rule]
    assert policy.delete_rule(rule).body == policy.add_rule(rule).body


@pytest.mark.parametrize(("to", "gateway"), [("10.0.0.0/24", None), ("0.0.0.0/0", "10.0.0.3")])
def test_a_route_of_a_table_is_read_as_it_was_made(to: str, gateway: str | None) -> None:
    route = TableRoute(0x5A000003, ip_network(to), 7, ip_address(gateway) if gateway else None)  # type: ignore[arg-type]
    made = Reply(24, 1, policy.set_route(route).body)
    assert policy.routes([made], 7) == [route]
    assert policy.routes([made], 8) == []


def test_routes_of_the_kernels_own_tables_are_not_ours() -> None:
    main = TableRoute(MAIN, ip_network("10.0.0.0/24"), 7)  # type: ignore[arg-type]
    assert policy.routes([Reply(24, 1, policy.set_route(main).body)], 7) == []
