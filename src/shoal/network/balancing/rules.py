"""The rules of virtual IPs in a container's namespace, as texts of nft's language, and the flows that must end.

Pure. A connection to a virtual IP is given a backend when its first packet leaves the container; the kernel keeps that
as long as the connection lives, whatever becomes of the rules, and no time of ours ends it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.json_text import read_json
from shoal.network.balancing.flows import Endings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from random import Random

    from shoal.network.rtnetlink import Address

if TYPE_CHECKING:
    from random import Random

NAME = "shoal_vips"
TABLE = f"inet {NAME}"
_MAPS = {4: ("vips4", "ipv4_addr", "ip"), 6: ("vips6", "ipv6_addr", "ip6")}


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual IP. Backends on their way out (`leaving`) get no new connection and keep those they have."""

    address: Address
    backends: frozenset[Address] = field(default_factory=frozenset)
    leaving: frozenset[Address] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Found:
    """A virtual IP in the kernel: whom its rules lead to, and how many tracked connections each answers."""

    backends: frozenset[Address]
    flows: Mapping[Address, int]


def start() -> str:
    """Return what makes the table, or leaves it as it is with all its virtual IPs.

    It is never deleted and made again: a first packet that passes at that moment would find no rule, and the kernel
    would keep its connection without a backend.
    """
    lines = [f"add table {TABLE}"]
    lines += [f"add map {TABLE} {name} {{ type {kind} : verdict; }}" for name, kind, _ in _MAPS.values()]
    lines.append(f"add chain {TABLE} output {{ type nat hook output priority -100; policy accept; }}")
    lines.append(f"flush chain {TABLE} output")
    # Matches nothing that comes here. The kernel tracks connections only where a rule asks for it, and asks a chain of
    # this type only for tracked ones: without it, where all virtual IPs are without a backend, none would be refused.
    lines.append(f"add rule {TABLE} output ct direction reply accept")
    lines += [f"add rule {TABLE} output {family} daddr vmap @{name}" for name, _, family in _MAPS.values()]
    return "\n".join(lines) + "\n"


def maps() -> list[str]:
    """Return the names of the maps whose keys are the virtual IPs."""
    return [name for name, _, _ in _MAPS.values()]


def again(wanted: Mapping[Address, Virtual], rng: Random) -> str:
    """Return what makes all of it so, whatever somebody else has made of the table; empty where there is none.

    In place, as `start` says. What cannot be changed in place (a chain of another type) makes nft refuse it.
    """
    if not wanted:
        return ""
    flushes = "".join(f"flush map {TABLE} {name}\n" for name in maps())
    return start() + flushes + update({}, wanted, rng)


def removal() -> str:
    """Return what takes the table away, if there is one."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def differing(
    known: Mapping[Address, Virtual], wanted: Mapping[Address, Virtual]
) -> tuple[dict[Address, Virtual], dict[Address, Virtual]]:
    """Return both without what is the same in both: `update` and `ended` say the same of that."""
    return (
        {address: one for address, one in known.items() if wanted.get(address) != one},
        {address: one for address, one in wanted.items() if known.get(address) != one},
    )


def update(known: Mapping[Address, Virtual | None], wanted: Mapping[Address, Virtual], rng: Random) -> str:
    """Return what leads from one state to the other, empty where nothing does: what did not change is not touched.

    None in `known`: there is such a virtual IP, and who is behind it is not known.
    """
    lines: list[str] = []
    for address, virtual in wanted.items():
        former = known.get(address)
        if former is not None and former.backends == virtual.backends:
            continue
        chain = _chain(address)
        lines += [f"add chain {TABLE} {chain}", f"flush chain {TABLE} {chain}"]
        lines += [f"add rule {TABLE} {chain} {rule}" for rule in _spread(virtual, rng)]
        if address not in known:
            lines.append(f"add element {TABLE} {_MAPS[address.version][0]} {{ {address} : goto {chain} }}")
    for address in known:
        if address not in wanted:
            lines += [
                f"delete element {TABLE} {_MAPS[address.version][0]} {{ {address} : goto {_chain(address)} }}",
                f"flush chain {TABLE} {_chain(address)}",
                f"delete chain {TABLE} {_chain(address)}",
            ]
    return "\n".join([*lines, ""]) if lines else ""


def _chain(address: Address) -> str:
    return f"vip_{address.packed.hex()}"


def _spread(virtual: Virtual, rng: Random) -> list[str]:
    """Return the rules of one virtual IP's chain."""
    family = _MAPS[virtual.address.version][2]
    backends = sorted(one for one in virtual.backends if one.version == virtual.address.version)
    if not backends:
        # Told at once that nobody is there, instead of a wait.
        return ["meta l4proto tcp reject with tcp reset", "reject"]
    # The kernel counts from 0 again at each change: without this the first backend would get more than its share.
    rng.shuffle(backends)
    last = f"dnat {family} to {backends[-1]}"
    if len(backends) == 1:
        return [last]
    each = ", ".join(f"{number} : {one}" for number, one in enumerate(backends))
    # The last rule is for a packet that is between the two rules when they are replaced: it still sees these, but the
    # map, which is a set, is already empty to it. Without it two connections of 6,000 failed under 700 replacements.
    return [f"dnat {family} to numgen inc mod {len(backends)} map {{ {each} }}", last]


def ended(known: Mapping[Address, Virtual], wanted: Mapping[Address, Virtual]) -> Endings:
    """Return the flows to end once the rules are as wanted.

    Those of backends that are gone: a long-lived flow of UDP finds a living one, TCP hears at once. Those that began
    before the virtual IP was there, and lead nowhere. All of a virtual IP that is gone.
    """
    found: dict[Address, frozenset[Address] | None] = {}
    for address, former in known.items():
        now = wanted.get(address)
        if now is None:
            found[address] = None
        elif gone := (former.backends | former.leaving) - (now.backends | now.leaving):
            found[address] = gone
    found.update({address: frozenset({address}) for address in wanted if address not in known})
    return Endings(found)


def is_stale(wanted: Mapping[Address, Virtual], virtual: Address, answers: Address) -> bool:
    """Return whether a flow to a virtual IP is to end: what `ended` is where the past is not known."""
    now = wanted.get(virtual)
    return now is None or answers not in now.backends | now.leaving


def behind(listing: str) -> dict[Address, frozenset[Address]]:
    """Return who is behind each virtual IP in a listing of our table in JSON. ShoalError."""
    found: dict[Address, set[Address]] = {address: set() for address in read(listing)}
    chains = {_chain(address): address for address in found}
    try:
        for item in read_json(listing)["nftables"]:
            rule = item.get("rule", {})
            if rule.get("chain") in chains:
                found[chains[rule["chain"]]].update(_led_to(rule.get("expr", ())))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ShoalError(f"nft's listing of {TABLE} cannot be read: {error}") from error
    return {address: frozenset(backends) for address, backends in found.items()}


def _led_to(expressions: Iterable[Mapping[str, Any]]) -> Iterator[Address]:
    """Yield the addresses that a rule of `_spread` leads to."""
    for one in expressions:
        to = one.get("dnat", {}).get("addr")
        if isinstance(to, str):
            yield ipaddress.ip_address(to)
        elif to is not None:
            for _, address in to["map"]["data"]["set"]:
                yield ipaddress.ip_address(address)


def read(listing: str) -> dict[Address, Virtual | None]:
    """Return the virtual IPs that a listing of our table in JSON has, who is behind them left open. ShoalError."""
    found: dict[Address, Virtual | None] = {}
    try:
        for item in read_json(listing)["nftables"]:
            if item.get("map", {}).get("name") in {name for name, _, _ in _MAPS.values()}:
                for element in item["map"].get("elem", ()):
                    found[ipaddress.ip_address(element[0])] = None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ShoalError(f"nft's listing of {TABLE} cannot be read: {error}") from error
    return found
