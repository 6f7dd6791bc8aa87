"""The packet rules of a translation, as one text of nft's language: a transaction. Pure.

A user's own table holds: what any table drops is dropped. In its hook prerouting, before priority -100, the host's port
is still the destination. Chains and the set are filled anew and never deleted while a port is published.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from types import MappingProxyType

from shoal.network.rules import BRIDGES
from shoal.network.translation.places import Place
from shoal.network.wanted import Protocol

# What every way of IPv6 carries (1,280 bytes), less the headers: too long a packet would be told to nobody.
_SEGMENT = 1220


Direct = Mapping[tuple[Protocol, int], tuple[IPv6Address, int]]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge with containers that may have addresses of IPv6."""

    name: str
    prefix: IPv6Network


def rules(
    table: str,
    place: Place,
    ports: Collection[tuple[Protocol, int]],
    bridge: Bridge | None = None,
    direct: Direct = MappingProxyType({}),
) -> str:
    """Return the text after which exactly these ports of this host are translated.

    From outside and from this host itself ([::1], too). Nothing else gets to the device, and nothing but answers comes
    from it. Nobody outside speaks in the name of the addresses that are this host's alone, ::1 among them.

    `direct` are those that lead to containers on `bridge` without it: who comes from outside is seen as itself.
    Containers there get nowhere but to published ports, and send nothing but answers to this host.
    """
    device, own = f'"{place.device}"', str(place.prefix)
    elements = ", ".join(sorted(f"{protocol} . {number}" for protocol, number in ports))
    redirect = f"fib daddr type local meta l4proto . th dport @ports dnat to {place.host6}"
    only_answers = f"iifname {device} ct direction original drop"
    lines = [
        f"add table ip6 {table}",
        f"add set ip6 {table} ports {{ type inet_proto . inet_service; }}",
        f"flush set ip6 {table} ports",
        *([f"add element ip6 {table} ports {{ {elements} }}"] if elements else []),
    ]
    if bridge is not None:
        leads = sorted(f"{protocol} . {number} : {to} . {at}" for (protocol, number), (to, at) in direct.items())
        lines += [
            f"add map ip6 {table} direct {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}",
            f"flush map ip6 {table} direct",
            *([f"add element ip6 {table} direct {{ {', '.join(leads)} }}"] if leads else []),
        ]
    for name, kind, chain in (
        (
            "foreign",
            "filter hook prerouting priority raw",
            (
                f"iifname != {device} ip6 daddr {own} drop",
                f"iifname != {device} ip6 saddr {own} drop",
                'iifname != "lo" ip6 daddr ::1 drop',
                'iifname != "lo" ip6 saddr ::1 drop',
            ),
        ),
        ("arriving", "nat hook prerouting priority dstnat", (redirect,)),
        ("own", "nat hook output priority -100", (redirect,)),
        (
            "source",
            "nat hook postrouting priority srcnat",
            (f"oifname {device} ct status dnat snat to {place.client6}",),
        ),
        (
            "segments",
            "filter hook postrouting priority 150",
            (f"oifname {device} tcp flags syn tcp option maxseg size set {_SEGMENT}",),
        ),
        (
            "forward",
            "filter hook forward priority filter",
            (
                only_answers,
                # What is of no connection that is known is not turned back, and would leave this host as it is.
                f"iifname {device} ip6 daddr {own} drop",
                f"oifname {device} ct status dnat accept",
                f"oifname {device} drop",
            ),
        ),
        ("input", "filter hook input priority filter", (only_answers,)),
    ):
        if bridge is not None:
            chain = (*_beside(name, bridge), *chain)
        lines += [
            f"add chain ip6 {table} {name} {{ type {kind}; policy accept; }}",
            f"flush chain ip6 {table} {name}",
            *(f"add rule ip6 {table} {name} {rule}" for rule in chain),
        ]
    return "\n".join([*lines, ""])


def _beside(chain: str, bridge: Bridge) -> tuple[str, ...]:
    """Return what comes first in a chain for the sake of a bridge."""
    name, own = f'"{bridge.name}"', str(bridge.prefix)
    return {
        "foreign": (f"iifname != {name} ip6 daddr {own} drop", f"iifname != {name} ip6 saddr {own} drop"),
        # Containers, of other daemons too, are translated: they would be answered past this host, or not at all.
        "arriving": (f'iifname != "{BRIDGES}" fib daddr type local dnat ip6 to meta l4proto . th dport map @direct',),
        "forward": (
            f"iifname {name} ct state established,related accept",
            f"iifname {name} ct state invalid drop",
            f"iifname {name} ip6 saddr != {own} drop",
            f"iifname {name} ct status dnat accept",
            f"iifname {name} reject with icmpv6 type admin-prohibited",
            f"oifname {name} ct status dnat accept",
            f"oifname {name} drop",
        ),
        "input": (
            f"iifname {name} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept",
            f"iifname {name} ct state established,related accept",
            f"iifname {name} drop",
        ),
    }.get(chain, ())


def remove(table: str) -> str:
    """Return what removes the table, whether or not it is there."""
    return f"add table ip6 {table}\ndelete table ip6 {table}\n"
