"""Both kinds of iptables' tables, read into one form."""

import json

import pytest

from shoal.errors import ShoalError
from shoal.network.leftovers.chains import UNKNOWN, from_nft, from_save
from tests.unit.network.leftovers.listings import ENGINE_20, ENGINE_28, nft_json


@pytest.mark.parametrize("saved", [ENGINE_20, ENGINE_28])
def test_both_kinds_are_the_same_once_read(saved: str) -> None:
    for table in from_save(saved, "ip"):
        other = from_nft(nft_json(saved, table.name), "ip", table.name)
        assert [(name, one.policy) for name, one in table.chains.items()] == [
            (name, one.policy) for name, one in other.chains.items()
        ]
        for name, chain in table.chains.items():
            for one, same in zip(chain.rules, other.chains[name].rules, strict=True):
                # iptables-save says the value of a mark, nft's JSON does not.
                facts = {word: value for word, value in one.facts.items() if word != "mark"}
                assert (facts, one.verdict, one.target) == (same.facts, same.verdict, same.target), one.at


def test_a_saved_rule_is_kept_with_its_own_words() -> None:
    (table,) = from_save(
        "*nat\n:DOCKER - [0:0]\n-A DOCKER ! -i docker0 -p tcp -m tcp --dport 1 -j RETURN\nCOMMIT\n", "ip6"
    )
    (rule,) = table.chains["DOCKER"].rules
    assert (table.family, table.legacy, rule.at) == ("ip6", True, "! -i docker0 -p tcp -m tcp --dport 1 -j RETURN")
    assert (rule.facts, rule.verdict) == ({"iif!": "docker0", "proto": "tcp", "dport": "1"}, "return")


@pytest.mark.parametrize(
    "words",
    [
        "-m comment --comment mine -j DROP",
        "-p tcp -m tcp --dport 1:9 -j DROP",
        "-p tcp -m multiport --dports 1,2 -j DROP",
        "-m limit --limit 5/min -j DROP",
        "-m addrtype ! --dst-type LOCAL -j DROP",
        "-m addrtype --dst-type BROADCAST -j DROP",
        "-m conntrack ! --ctstate NEW -j DROP",
        "-f -j DROP",
    ],
)
def test_what_is_not_understood_of_a_saved_rule_is_not_passed_over(words: str) -> None:
    (table,) = from_save(f"*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD {words}\nCOMMIT\n", "ip")
    assert UNKNOWN in table.chains["FORWARD"].rules[0].facts


@pytest.mark.parametrize(
    "statement",
    [
        {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}},
        {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"range": [1, 9]}}},
        {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["a", "b"]}}},
        {"match": {"op": "<", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 9}},
        {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": "daddr"}}, "right": "local"}},
        {"limit": {"rate": 5, "per": "minute"}},
        {"xt": {"type": "match", "name": "recent"}},
        {"xt": None},
        {"accept": None},
        "notrack",
        {},
    ],
)
def test_what_is_not_understood_of_a_rule_of_nft_is_not_passed_over(statement: object) -> None:
    rule = {"chain": "FORWARD", "handle": 1, "expr": [{"drop": None}, statement]}
    listing = json.dumps({"nftables": [{"chain": {"name": "FORWARD"}}, {"rule": rule}]})
    (found,) = from_nft(listing, "ip", "filter").chains["FORWARD"].rules
    assert UNKNOWN in found.facts


def test_native_forms_of_newer_versions_are_understood() -> None:
    expr = [
        {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": "daddr"}}, "right": "local"}},
        {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
        {"dnat": {"addr": "172.17.0.2", "port": 80}},
    ]
    rule = {"chain": "X", "handle": 1, "expr": expr}
    (found,) = (
        from_nft(json.dumps({"nftables": [{"chain": {"name": "X"}}, {"rule": rule}]}), "ip", "nat").chains["X"].rules
    )
    assert (set(found.facts), found.verdict) == ({"addrtype", "conntrack"}, "dnat")


@pytest.mark.parametrize(
    "listing", ["", "[]", "{}", '{"nftables": [{"rule": {"expr": []}}]}', '{"nftables": [{"chain": 1}]}']
)
def test_a_listing_of_another_form_is_an_error_of_ours(listing: str) -> None:
    with pytest.raises(ShoalError, match="cannot be read"):
        from_nft(listing, "ip", "nat")


@pytest.mark.parametrize("text", [":A", '*nat\n:INPUT ACCEPT\n-A INPUT -m "\nCOMMIT'])
def test_rules_of_another_form_are_an_error_of_ours(text: str) -> None:
    with pytest.raises(ShoalError, match="cannot be read"):
        from_save(text, "ip")
