"""The packet rules of host ports, as one text of nft's language: a transaction. Pure.

Chains and the map are filled anew and never deleted while a port leads anywhere, so that no packet finds none. Which
answers and which forwarded packets pass is the matter of the bridge's own rules (`network/rules.py`).

A user's own table holds: what any table drops is dropped. In its hook prerouting, before priority -100, the host's port
is still the destination.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import get_args

from shoal.json_text import read_json
from shoal.network.host_ports.ports import Leads, Published
from shoal.network.wanted import Protocol

LOOPBACK = "127.0.0.0/8"


def rules(table: str, bridge: str, subnet: IPv4Network, leads: Leads) -> str:
    """Return the text after which exactly these ports lead to containers.

    They lead there from outside, from this host itself (127.0.0.1, too) and from its containers, on whichever of the
    host's addresses. Whoever is outside is seen by its own address. One on the bridge would be answered past the host,
    and 127.0.0.1 by nobody: these two are seen as the host.
    """
    elements = sorted(
        f"{protocol} . {published} : {lead.address} . {lead.target}" for (protocol, published), lead in leads.items()
    )
    redirect = "fib daddr type local dnat ip to meta l4proto . th dport map @ports"
    lines = [
        f"add table ip {table}",
        f"add map ip {table} ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}",
        f"flush map ip {table} ports",
        *([f"add element ip {table} ports {{ {', '.join(elements)} }}"] if elements else []),
    ]
    for name, kind, rule in (
        # The bridge may route packets of 127.0.0.1, for what this host sends itself. No container may.
        ("loopback", "filter hook prerouting priority raw", f'iifname "{bridge}" ip daddr {LOOPBACK} drop'),
        ("arriving", "nat hook prerouting priority dstnat", redirect),
        ("own", "nat hook output priority -100", redirect),
        (
            "source",
            "nat hook postrouting priority srcnat",
            f'oifname "{bridge}" ct status dnat ip saddr {{ {LOOPBACK}, {subnet} }} masquerade',
        ),
    ):
        lines += [
            f"add chain ip {table} {name} {{ type {kind}; policy accept; }}",
            f"flush chain ip {table} {name}",
            f"add rule ip {table} {name} {rule}",
        ]
    return "\n".join([*lines, ""])


def remove(table: str) -> str:
    """Return what removes the table, whether or not it is there."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def places(listing: str) -> dict[Published, tuple[IPv4Address, int]]:
    """Return where ports lead by the rules that are there: nft's JSON of the table. What is not ours is left out."""
    found: dict[Published, tuple[IPv4Address, int]] = {}
    for item in read_json(listing)["nftables"]:
        there = item.get("map", {})
        for element in there.get("elem", []) if there.get("name") == "ports" else []:
            try:
                (protocol, published), (address, target) = (side["concat"] for side in element)
                if protocol in get_args(Protocol):
                    found[protocol, int(published)] = IPv4Address(address), int(target)
            except (KeyError, TypeError, ValueError):
                continue  # somebody has edited it
    return found
