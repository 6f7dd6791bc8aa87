"""The packet rules of a translation, as one text of nft's language: a transaction. Pure.

A user's own table holds: what any table drops is dropped. In its hook prerouting, before priority -100, the host's port
is still the destination. Chains and the set are filled anew and never deleted while a port is published.
"""

from collections.abc import Collection

from shoal.network.translation.places import Place
from shoal.network.wanted import Protocol

# What every way of IPv6 carries (1,280 bytes), less the headers: too long a packet would be told to nobody.
_SEGMENT = 1220


def rules(table: str, place: Place, ports: Collection[tuple[Protocol, int]]) -> str:
    """Return the text after which exactly these ports of this host are translated.

    From outside and from this host itself ([::1], too). Nothing else gets to the device, and nothing but answers comes
    from it. Nobody outside speaks in the name of the addresses that are this host's alone, ::1 among them.
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
            (only_answers, f"oifname {device} ct status dnat accept", f"oifname {device} drop"),
        ),
        ("input", "filter hook input priority filter", (only_answers,)),
    ):
        lines += [
            f"add chain ip6 {table} {name} {{ type {kind}; policy accept; }}",
            f"flush chain ip6 {table} {name}",
            *(f"add rule ip6 {table} {name} {rule}" for rule in chain),
        ]
    return "\n".join([*lines, ""])


def remove(table: str) -> str:
    """Return what removes the table, whether or not it is there."""
    return f"add table ip6 {table}\ndelete table ip6 {table}\n"
