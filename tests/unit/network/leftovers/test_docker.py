"""What of Docker's goes, and that nothing of anybody else's does."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.network.leftovers.chains import Chain, Rule, Table, from_nft, from_save
from shoal.network.leftovers.docker import CHAINS, Removal, closed, decide
from tests.unit.network.leftovers.listings import ENGINE_20, ENGINE_28, added, nft_json

NAMES = ("nat", "filter", "raw", "mangle")
ENGINES = [ENGINE_20, ENGINE_28]


def tables(saved: str, kind: str) -> list[Table]:
    """Return a listing as either kind of iptables has it."""
    if kind == "legacy":
        return from_save(saved, "ip")
    return [from_nft(nft_json(saved, name), "ip", name) for name in NAMES if f"*{name}\n" in saved]


def after(before: list[Table], removals: list[Removal]) -> list[Table]:
    """Return the tables once all of that is gone, as a kernel would: it refuses to remove a chain that is in use."""
    found = []
    for table in before:
        for one in (one for one in removals if one.table == table):
            gone = {rule.place for rule in one.rules}
            chains = {}
            for name, chain in table.chains.items():
                left = Chain(chain.policy, tuple(rule for rule in chain.rules if rule.place not in gone))
                if name in one.chains:
                    assert not left.rules, f"{name} is not empty"
                else:
                    chains[name] = left
            for chain in chains.values():
                assert all(not rule.target or rule.target in chains for rule in chain.rules), "a chain is in use"
            if one.opens:
                chains["FORWARD"] = replace(chains["FORWARD"], policy="accept")
            found.append(replace(table, chains=chains))
        if all(one.table != table for one in removals):
            found.append(table)
    return found


def rules_of(found: list[Table]) -> list[str]:
    return [
        f"{table.name} {chain} {rule.at}"
        for table in found
        for chain, one in table.chains.items()
        for rule in one.rules
    ]


@pytest.mark.parametrize("kind", ["legacy", "nft"])
@pytest.mark.parametrize("saved", ENGINES)
def test_all_of_a_dead_engine_goes_but_for_the_users_chain(saved: str, kind: str) -> None:
    before = tables(saved, kind)
    left = after(before, decide(before))
    assert [(table.name, chain) for table in left for chain in table.chains if chain.startswith("DOCKER")] == [
        ("filter", "DOCKER-USER")
    ]
    (filtered,) = [table for table in left if table.name == "filter"]
    assert [rule.target for rule in filtered.chains["FORWARD"].rules] == ["DOCKER-USER"]
    assert filtered.chains["FORWARD"].policy == "accept"
    others = [one for one in rules_of(left) if not one.startswith(("filter FORWARD", "filter DOCKER-USER"))]
    assert not others
    assert not decide(left)
    assert not closed(left)


@pytest.mark.parametrize("kind", ["legacy", "nft"])
def test_what_was_removed_is_told(kind: str) -> None:
    told = [str(one) for one in decide(tables(ENGINE_28, kind))]
    where = {"legacy": "iptables-legacy", "nft": "nftables"}[kind]
    assert f"{where} ip nat: 4 rules; chains DOCKER" in told
    assert f"{where} ip raw: 1 rule" in told
    (filtered,) = [one for one in told if " filter: " in one]
    assert filtered.endswith("DOCKER-INTERNAL; policy DROP of FORWARD")


@pytest.mark.parametrize("kind", ["legacy", "nft"])
def test_a_policy_that_may_be_anothers_stays_and_is_named(kind: str) -> None:
    before = tables(added(ENGINE_20, "filter", "-A FORWARD -i lan0 -j ACCEPT"), kind)
    assert not any(one.opens for one in decide(before))
    assert [table.name for table in closed(before)] == ["filter"]
    (filtered,) = [table for table in after(before, decide(before)) if table.name == "filter"]
    assert filtered.chains["FORWARD"].policy == "drop"


@pytest.mark.parametrize("kind", ["legacy", "nft"])
def test_where_docker_never_was_nothing_is_even_looked_at(kind: str) -> None:
    saved = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i docker0 -o docker0 -j DROP\nCOMMIT\n"
    assert not decide(tables(saved, kind))
    assert not closed(tables(saved, kind))


@pytest.mark.parametrize("kind", ["legacy", "nft"])
@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("filter", "-A FORWARD -i docker0 -j DROP"),
        ("filter", "-A FORWARD -i eth0 -o docker0 -j ACCEPT"),
        ("filter", "-A FORWARD -i eth0 ! -o eth0 -j ACCEPT"),
        ("filter", "-A FORWARD -o eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ("filter", "-A INPUT -p udp -m udp --dport 27015 -m u32 --u32 0x0=0x1 -j DROP"),
        ("filter", "-A DOCKER-USER -j DROP"),
        ("nat", "-A POSTROUTING -s 10.8.0.0/24 ! -o eth0 -j MASQUERADE"),
        ("nat", "-A POSTROUTING -s 10.0.0.0/8 -d 10.0.0.0/8 -p tcp -m tcp --dport 80 -j MASQUERADE"),
        ("nat", "-A POSTROUTING -o eth0 -j MASQUERADE"),
        ("nat", "-A POSTROUTING -s 198.51.100.7/32 ! -o docker_gwbridge -j MASQUERADE"),
        ("nat", "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.9:80"),
        ("nat", "-A OUTPUT -j DOCKER"),
    ],
)
def test_rules_that_resemble_dockers_stay(table: str, line: str, kind: str) -> None:
    """Also where another's rule jumps into a chain of Docker's: that is emptied, but stays."""
    before = tables(added(ENGINE_20, table, line), kind)
    left = after(before, decide(before))
    assert len(rules_of(left)) == 3, rules_of(left)
    assert not decide(left)


MATCHES = st.sampled_from(
    [
        "-s 198.51.100.7/32",
        "-m comment --comment mine",
        "-m limit --limit 5/min",
        "-i docker0",
        "-o docker0",
        "! -o docker_gwbridge",
        "-d 172.17.0.2/32",
        "-p tcp -m tcp --dport 8081",
        "-m conntrack --ctstate RELATED,ESTABLISHED",
    ]
)
# Nothing that Docker ever writes has one of these.
FOREIGN = st.sampled_from(["-s 198.51.100.7/32", "-m comment --comment mine", "-m limit --limit 5/min"])
TARGETS = {"filter": ["ACCEPT", "DROP", "RETURN", "LOG"], "nat": ["ACCEPT", "RETURN", "MASQUERADE"]}
CHAINS_OF = {
    "filter": ["INPUT", "FORWARD", "DOCKER", "DOCKER-INGRESS", "DOCKER-USER", "MINE"],
    "nat": ["PREROUTING", "OUTPUT", "POSTROUTING", "DOCKER", "MINE"],
}


@st.composite
def of_others(draw: st.DrawFn, table: str) -> str:
    """A rule that is certainly not Docker's, anywhere, also one that leads into a chain of Docker's or of its own."""
    matches = [*draw(st.lists(MATCHES, max_size=3, unique=True)), draw(FOREIGN)]
    once = {word.lstrip("! ").split()[0] + word.split()[1][:2]: word for word in matches}
    target = draw(st.sampled_from([*TARGETS[table], "MINE", "DOCKER"]))
    return f"-A {draw(st.sampled_from(CHAINS_OF[table]))} {' '.join(once.values())} -j {target}"


@settings(deadline=None)
@given(
    st.sampled_from(ENGINES),
    st.sampled_from(["legacy", "nft"]),
    st.lists(of_others("filter"), max_size=5),
    st.lists(of_others("nat"), max_size=5),
)
def test_no_rule_of_anybody_else_goes_nor_its_chain_nor_the_way_to_it(
    saved: str, kind: str, filtered: list[str], natted: list[str]
) -> None:
    saved = saved.replace(":DOCKER - ", ":MINE - [0:0]\n:DOCKER - ")
    clean = tables(saved, kind)
    docker = {
        (table.name, rule.chain, *_key(rule)) for table in clean for one in table.chains.values() for rule in one.rules
    }
    before = tables(added(added(saved, "filter", *filtered), "nat", *natted), kind)
    left = after(before, decide(before))
    for table, now in zip(before, left, strict=True):
        for name, chain in table.chains.items():
            others = [rule for rule in chain.rules if (table.name, name, *_key(rule)) not in docker]
            if others:
                assert [rule for rule in now.chains[name].rules if rule in others] == others
            if others and (table.name, name) in CHAINS:
                ways = [rule for one in table.chains.values() for rule in one.rules if rule.target == name]
                assert all(rule in now.chains[rule.chain].rules for rule in ways)
    assert not decide(left)


def _key(rule: Rule) -> tuple[str, str, str]:
    return str(sorted(rule.facts.items())), rule.verdict, rule.target
