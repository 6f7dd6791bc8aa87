"""The packet rules of this host's own bridge, as text for `nft -f -`.

Each text is one nftables transaction: it holds whole or not at all, and giving it twice changes nothing.
"""

from collections.abc import Collection
from ipaddress import IPv4Network

# The bridges of every daemon on this host.
BRIDGES = "shoal*"


def bridge_rules(table: str, bridge: str, subnet: IPv4Network, closed_ports: Collection[int] = ()) -> str:
    """Return the rules that let containers out and nobody in.

    Out: masqueraded as the host. In: only answers, and what the host itself has redirected (published ports). Another
    node's bridge on the same host counts as outside, as Docker keeps its bridges apart. The host itself reaches the
    containers: its packets are not forwarded. Containers reach the host as any other machine does, but for
    `closed_ports`: those they do not reach on whichever of its addresses, also through another node's bridge.
    """
    ports = ", ".join(str(port) for port in sorted(closed_ports))
    closed = f"""\
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname "{BRIDGES}" tcp dport {{ {ports} }} drop
	}}
"""
    # Declaring the table before deleting it makes the delete succeed whether or not it was there.
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {subnet} oifname != "{bridge}" masquerade
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		oifname != "{bridge}" accept
		iifname "{bridge}" accept
		ct state established,related accept
		ct status dnat accept
		drop
	}}
{closed if ports else ""}}}
"""


def remove_rules(table: str) -> str:
    """Return what removes the table, whether or not it is there."""
    return f"table ip {table} {{}}\ndelete table ip {table}\n"
