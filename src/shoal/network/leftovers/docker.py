"""Which rules a Docker Engine left behind, and what to remove of them. Pure.

In: iptables' tables, of either kind. Out: rules and chains of Docker's. What has the form that Docker writes, at the
place where Docker writes it, is Docker's; all else is somebody else's and stays, with the chain that it is in and the
way there. `DOCKER-USER` is the user's.

Names and forms of rules: moby libnetwork/drivers/bridge, libnetwork/service_linux.go, libnetwork/drivers/overlay, from
1.13 to 29.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from shoal.network.leftovers.chains import Chain, Rule, Table
from shoal.network.wanted import Protocol

USERS_CHAIN = "DOCKER-USER"
# Of Docker 29 with nftables. Docker takes them to be wholly its own, and deletes them at its start.
TABLES = frozenset((family, name) for family in ("ip", "ip6") for name in ("docker-bridges", "docker-overlay"))
_BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
_VXLAN = "4789"
_DATAGRAMS: tuple[Protocol, ...] = ("udp", "sctp")
_MARK = ("", "0xd0c4e3/0xffffffff")  # of packets that are to be encrypted; nft's JSON does not say


@dataclass(frozen=True, slots=True)
class _Form:
    """A rule that Docker writes: its verdict, the facts that it has, and those that it may have."""

    verdict: str
    needs: frozenset[str]
    may: frozenset[str]

    def fits(self, rule: Rule) -> bool:
        names = rule.facts.keys()
        return rule.verdict == self.verdict and self.needs <= names <= self.needs | self.may


def _form(verdict: str, needs: str = "", may: str = "") -> _Form:
    return _Form(verdict, frozenset(needs.split()), frozenset(may.split()))


_RETURN = _form("return")
# The chains that Docker makes, and what it writes in them; jumps there lead to others of these only.
_OWN: Mapping[tuple[str, str], tuple[_Form, ...]] = {
    ("nat", "DOCKER"): (_form("return", "", "iif dst"), _form("dnat", "proto dport", "iif! dst")),
    ("nat", "DOCKER-INGRESS"): (_RETURN, _form("dnat", "proto dport")),
    ("filter", "DOCKER"): (
        _RETURN,
        _form("accept", "oif", "iif! dst proto dport"),
        _form("accept", "iif oif src dst proto", "dport sport"),
        _form("drop", "iif! oif"),
    ),
    ("filter", "DOCKER-INGRESS"): (
        _RETURN,
        _form("accept", "proto dport"),
        _form("accept", "proto sport conntrack"),
    ),
    ("filter", "DOCKER-ISOLATION"): (_RETURN, _form("drop", "iif oif")),
    ("filter", "DOCKER-ISOLATION-STAGE-1"): (
        _RETURN,
        _form("jump", "iif oif!"),
        _form("drop", "iif dst!"),
        _form("drop", "oif src!"),
    ),
    ("filter", "DOCKER-ISOLATION-STAGE-2"): (_RETURN, _form("drop", "oif")),
    ("filter", "DOCKER-FORWARD"): (
        _form("jump"),
        _form("accept", "iif", "oif oif!"),
        _form("drop", "iif oif"),
        _form("accept", "oif conntrack"),
    ),
    ("filter", "DOCKER-BRIDGE"): (_form("jump", "oif"),),
    ("filter", "DOCKER-CT"): (_form("accept", "oif conntrack"),),
    ("filter", "DOCKER-INTERNAL"): (_form("drop", "iif dst!"), _form("drop", "oif src!")),
}
CHAINS = frozenset(_OWN)
# What Docker writes into iptables' own chains.
_TO_DOCKER = _form("jump", "addrtype", "dst!")
_ELSEWHERE: Mapping[tuple[str, str], tuple[_Form, ...]] = {
    ("nat", "PREROUTING"): (_TO_DOCKER,),
    ("nat", "OUTPUT"): (_TO_DOCKER,),
    ("nat", "POSTROUTING"): (
        _form("masquerade", "src oif!"),
        _form("masquerade", "addrtype oif"),
        _form("masquerade", "src dst proto dport"),
    ),
    ("filter", "FORWARD"): (
        _form("jump", "", "oif set"),
        _form("accept", "oif conntrack"),
        _form("accept", "iif oif!"),
        _form("accept", "iif oif"),
        _form("drop", "iif oif"),
    ),
    ("raw", "PREROUTING"): (_form("drop", "dst iif!", "proto dport"),),
    # Packets of encrypted overlays. A dead one's VXLAN id is soon another's, which is in the clear.
    ("filter", "INPUT"): tuple(
        _form(verdict, f"proto dport {match}", "policy") for verdict in ("accept", "drop") for match in ("u32", "bpf")
    ),
    ("mangle", "OUTPUT"): tuple(_form("mark", f"proto dport {match}", "mark") for match in ("u32", "bpf")),
}


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to go from one table, all at once."""

    table: Table
    rules: tuple[Rule, ...]
    chains: tuple[str, ...]
    opens: bool = False  # FORWARD's policy becomes accept

    def __str__(self) -> str:
        """Say it in the log."""
        kind = "iptables-legacy" if self.table.legacy else "nftables"
        parts = [f"{len(self.rules)} rule{'s' * (len(self.rules) != 1)}"] if self.rules else []
        parts += [f"chains {', '.join(self.chains)}"] if self.chains else []
        parts += ["policy DROP of FORWARD"] if self.opens else []
        return f"{kind} {self.table.family} {self.table.name}: {'; '.join(parts)}"


def led(removals: Iterable[Removal]) -> set[tuple[Protocol, int]]:
    """Return protocol and port of what these rules led to containers, but for TCP's: the kernel remembers where a flow
    without connections goes for as long as packets come, whatever the rules are by then."""
    return {
        (protocol, int(rule.facts["dport"]))
        for one in removals
        for rule in one.rules
        for protocol in _DATAGRAMS
        if rule.verdict == "dnat" and rule.facts["proto"] == protocol and rule.facts["dport"].isdecimal()
    }


def decide(tables: Iterable[Table]) -> list[Removal]:
    """Return what is to go, where no engine runs any more."""
    found = [_removal(table, bridges) for table, bridges in _of_docker(tables)]
    return [one for one in found if one.rules or one.chains]


def closed(tables: Iterable[Table]) -> list[Table]:
    """Return the tables where FORWARD drops what no rule accepts, though that may not be Docker's: others have rules
    there."""
    return [table for table, bridges in _of_docker(tables) if _drops(table) and not _removal(table, bridges).opens]


def _of_docker(tables: Iterable[Table]) -> Iterator[tuple[Table, set[str]]]:
    """Yield the tables where Docker has been, with the names of its bridges. Elsewhere no rule is even looked at."""
    kinds: dict[tuple[str, bool], list[Table]] = {}
    for table in tables:
        kinds.setdefault((table.family, table.legacy), []).append(table)
    for kind in kinds.values():
        if any((table.name, name) in _OWN for table in kind for name in table.chains):
            bridges = set().union(*map(_bridges, kind))
            yield from ((table, bridges) for table in kind)


def _removal(table: Table, bridges: Collection[str]) -> Removal:
    rules = [rule for chain in table.chains.values() for rule in chain.rules]
    dockers = [rule for rule in rules if _is_dockers(table, rule, bridges)]
    of_docker = {rule.place for rule in dockers}
    stays = _staying(table, [rule for rule in rules if rule.place not in of_docker])
    goes = tuple(rule for rule in dockers if rule.target not in stays)
    places = {rule.place for rule in goes}
    led_to = {rule.target for rule in rules if rule.place not in places}
    chains = tuple(name for name in table.chains if (table.name, name) in _OWN and name not in stays | led_to)
    return Removal(table, goes, chains, opens=_opens(table, places))


def _staying(table: Table, others: Collection[Rule]) -> set[str]:
    """Return Docker's chains with rules of others in them, and those by which packets get there."""
    stays = {rule.chain for rule in others if (table.name, rule.chain) in _OWN}
    while True:
        ways = {
            name
            for name, chain in table.chains.items()
            if (table.name, name) in _OWN and any(rule.target in stays for rule in chain.rules)
        }
        if ways <= stays:
            return stays
        stays |= ways


def _bridges(table: Table) -> set[str]:
    """Return the names of Docker's bridges, as far as the rules say: a user may have given them any."""
    return {
        rule.facts["oif"]
        for chain in table.chains.values()
        for rule in chain.rules
        if rule.target == "DOCKER" and "oif" in rule.facts
    }


def _is_dockers(table: Table, rule: Rule, bridges: Collection[str]) -> bool:
    place = (table.name, rule.chain)
    if rule.verdict in ("jump", "goto") and (table.name, rule.target) not in _OWN:
        return False
    if place in _OWN:
        return any(form.fits(rule) for form in _OWN[place])
    return any(form.fits(rule) for form in _ELSEWHERE.get(place, ())) and _is_exact(place, rule, bridges)


def _is_exact(place: tuple[str, str], rule: Rule, bridges: Collection[str]) -> bool:
    """Return whether what a rule of one of the forms names is Docker's, too."""
    facts = rule.facts
    if rule.target:
        # To DOCKER it is by interface or by set, to the others always.
        return place[1] != "FORWARD" or (rule.target == "DOCKER") == bool(facts)
    if place in (("filter", "INPUT"), ("mangle", "OUTPUT")):
        return facts["proto"] == "udp" and facts["dport"] == _VXLAN and facts.get("mark", "") in _MARK
    interfaces = {facts[name] for name in ("iif", "iif!", "oif", "oif!") if name in facts}
    if not interfaces:  # a container that reaches itself by a port of the host
        return facts["src"] == facts["dst"] and _is_one(facts["src"])
    if _is_one(facts.get("src", "")) or ("dst" in facts and not _is_one(facts["dst"])):
        return False  # who leaves a bridge is a whole subnet, and who is guarded in raw one container
    return len(interfaces) == 1 and all(name in bridges or _BRIDGE.fullmatch(name) for name in interfaces)


def _is_one(network: str) -> bool:
    return network.endswith(("/32", "/128"))


def _drops(table: Table) -> bool:
    return table.name == "filter" and table.chains.get("FORWARD", Chain()).policy == "drop"


def _opens(table: Table, gone: Collection[tuple[str, int | str]]) -> bool:
    """Return whether FORWARD's policy is Docker's too: it sets it to drop where it turns forwarding on. Where anybody
    else has a rule there it may be theirs."""
    forward = table.chains.get("FORWARD", Chain())
    left = [rule for rule in forward.rules if rule.place not in gone and rule.target != USERS_CHAIN]
    came = any(rule.target and rule.place in gone for rule in forward.rules)
    return _drops(table) and came and not left
