"""iptables' tables as values, in one form for both of its kinds: from nft's JSON, and from what iptables-save prints.

Pure. What is not understood of a rule is kept as such, so that it is never taken for a rule that it only resembles.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shoal.errors import ShoalError
from shoal.json_text import read_json

# What Python says of a listing that is not as it should be.
_ODD = (AttributeError, LookupError, TypeError, ValueError)
# A fact by this name is one that was not understood.
UNKNOWN = "?"
_JUMPS = ("jump", "goto")
_OUTCOMES = ("accept", "drop", "return", "dnat", "masquerade", "mark", *_JUMPS)
_PORTS = ("tcp", "udp", "sctp")
_SIDES = {"saddr": "src", "daddr": "dst"}
# Matches of which nft's JSON has only the names.
_OPAQUE = ("addrtype", "bpf", "conntrack", "policy", "set", "u32")
# Options of iptables: which fact one states.
_OPTIONS = {
    "-i": "iif",
    "-o": "oif",
    "-s": "src",
    "-d": "dst",
    "-p": "proto",
    "--dport": "dport",
    "--sport": "sport",
    "--set-xmark": "mark",
}
# Options of the opaque matches and of targets, with a value that tells nothing more than the match's name does.
_PASSED = ("--bytecode", "--ctstate", "--dir", "--pol", "--state", "--to-destination", "--u32")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `at` is nft's handle, or the rule as iptables-save prints it without its chain.

    `facts` are the matches by name, with `!` after it where negated: `iif`, `oif`, `src`, `dst`, `proto`, `dport`,
    `sport`, `mark`, and the names of opaque ones with an empty value.
    """

    chain: str
    facts: Mapping[str, str]
    verdict: str
    target: str = ""  # of a jump
    at: int | str = 0

    @property
    def place(self) -> tuple[str, int | str]:
        """Where it is in its table."""
        return self.chain, self.at


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain. Only those at a hook have a policy."""

    policy: str = ""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `legacy`: of the older kind, which nft does not show."""

    family: str  # ip, ip6
    name: str
    chains: Mapping[str, Chain]
    legacy: bool = False


@dataclass(slots=True)
class _Facts:
    """The facts of a rule, as they are found."""

    found: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: str = "") -> None:
        """Take a fact in. Two that differ are none that anybody understands."""
        if self.found.setdefault(name, value) != value:
            self.found[UNKNOWN] = name


def from_nft(listing: str, family: str, table: str) -> Table:
    """Read nft's JSON of one table. ShoalError where it is of another form."""
    try:
        return _from_nft(listing, family, table)
    except _ODD as error:
        raise ShoalError(f"what nft lists of table {family} {table} cannot be read: {error!r}") from error


def _from_nft(listing: str, family: str, table: str) -> Table:
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for item in read_json(listing)["nftables"]:
        if chain := item.get("chain"):
            policies[chain["name"]] = chain.get("policy", "")
        elif rule := item.get("rule"):
            rules.setdefault(rule["chain"], []).append(_nft_rule(rule))
    return Table(family, table, {name: Chain(policies[name], tuple(rules.get(name, ()))) for name in policies})


def _nft_rule(rule: Mapping[str, Any]) -> Rule:
    facts, verdict, target = _Facts(), "", ""
    if "comment" in rule:
        facts.add(UNKNOWN, "comment")
    for statement in rule.get("expr", ()):
        parts: dict[str, Any] = statement if isinstance(statement, dict) else {}
        kind, body = next(iter(parts.items()), (UNKNOWN, None))
        if kind == "match":
            for word, value in _nft_match(body):
                facts.add(word, value)
        elif kind == "xt" and _xt(body, "match") in _OPAQUE:
            facts.add(_xt(body, "match"))
        elif kind != "counter":
            word = _xt(body, "target") if kind == "xt" else kind
            if verdict or word not in _OUTCOMES:
                facts.add(UNKNOWN, kind)
            else:
                verdict = word
                target = str(_part(statement, kind).get("target", "")) if word in _JUMPS else ""
    return Rule(rule["chain"], facts.found, verdict, target, rule["handle"])


def _xt(body: Any, kind: str) -> str:
    """Return the name of a match or target of xtables, of which nft's JSON says no more."""
    return str(body.get("name", "")).lower() if isinstance(body, dict) and body.get("type") == kind else ""


def _nft_match(body: Any) -> Iterator[tuple[str, str]]:
    left, right, end = body["left"], body["right"], {"==": "", "!=": "!"}.get(body["op"], UNKNOWN)
    meta, payload = _part(left, "meta").get("key"), _part(left, "payload")
    protocol, field_name = payload.get("protocol"), payload.get("field")
    if _part(left, "ct").get("key") == "state" and end != "!":
        yield "conntrack", ""
    elif _part(left, "fib").get("result") == "type" and (end, right) == ("", "local"):
        yield "addrtype", ""
    elif end == UNKNOWN or not (isinstance(right, (str, int)) or _part(right, "prefix")):
        yield UNKNOWN, str(body)
    elif meta in ("iifname", "oifname"):
        yield meta[:3] + end, str(right)
    elif meta == "l4proto" or (protocol, field_name) in (("ip", "protocol"), ("ip6", "nexthdr")):
        yield "proto" + end, str(right)
    elif protocol in ("ip", "ip6") and field_name in _SIDES:
        yield _SIDES[field_name] + end, _network(right, protocol)
    elif protocol in _PORTS and field_name in ("dport", "sport"):
        yield "proto", str(protocol)
        yield field_name + end, str(right)
    else:
        yield UNKNOWN, str(body)


def _part(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _network(right: Any, protocol: str) -> str:
    if isinstance(right, dict):
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    return f"{right}/{32 if protocol == 'ip' else 128}"


def from_save(text: str, family: str) -> list[Table]:
    """Read what iptables-save prints. ShoalError where it is of another form."""
    try:
        return _from_save(text, family)
    except _ODD as error:
        raise ShoalError(f"what iptables-save prints cannot be read: {error!r}") from error


def _from_save(text: str, family: str) -> list[Table]:
    tables: list[Table] = []
    name, policies, rules = "", {}, {}  # type: str, dict[str, str], dict[str, list[str]]
    for line in text.splitlines():
        if line.startswith("*"):
            name, policies, rules = line[1:].strip(), {}, {}
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[chain] = "" if policy == "-" else policy.lower()
        elif line.startswith("-A "):
            chain, _, words = line[3:].partition(" ")
            rules.setdefault(chain, []).append(words)
        elif line == "COMMIT":
            chains = {
                chain: Chain(policy, tuple(_saved_rule(chain, words, policies) for words in rules.get(chain, ())))
                for chain, policy in policies.items()
            }
            tables.append(Table(family, name, chains, legacy=True))
    return tables


def _saved_rule(chain: str, text: str, chains: Iterable[str]) -> Rule:
    facts, verdict, target, negated = _Facts(), "", "", ""
    words = iter(shlex.split(text))
    for word in words:
        if word == "!":
            negated = "!"
            continue
        value = "" if word in ("--random", "--random-fully", "--nflog") else next(words, "")
        if word in ("-j", "-g"):
            verdict = {"-j": "jump", "-g": "goto"}[word] if value in chains else value.lower()
            target = value if value in chains else ""
        elif word in _OPTIONS and not (word in ("--dport", "--sport") and ":" in value):
            facts.add(_OPTIONS[word] + negated, value)
        elif word == "-m" and value in _OPAQUE:
            facts.add(value)
        elif word == "-m" and value == "state":
            facts.add("conntrack")
        elif word == "--match-set":
            next(words, "")  # of what: src, dst
        elif not (word == "-m" and value in _PORTS) and not _passed(word, value, negated):
            facts.add(UNKNOWN, word)
        negated = ""
    return Rule(chain, facts.found, verdict, target, text)


def _passed(word: str, value: str, negated: str) -> bool:
    return not negated and (word in _PASSED or (word in ("--dst-type", "--src-type") and value == "LOCAL"))
