"""The packet rules of this host's own bridge, as text for `nft -f -`.

Each text is one nftables transaction: it holds whole or not at all, and giving it twice changes nothing.
"""

from collections.abc import Collection
from ipaddress import IPv4Network

# The bridges of every daemon on this host.
BRIDGES = "shoal*"


# memberlist's port, of Docker Engine and of ours; it is no setting anywhere.
GOSSIP_PORT = 7946
VXLAN_PORT = 4789


def bridge_rules(
    table: str,
    bridge: str,
    subnet: IPv4Network,
    closed_ports: Collection[int] = (),
    vxlan_port: int = VXLAN_PORT,
) -> str:
    """Return the rules that let containers out and nobody in.

    Out: masqueraded as the host. In: only answers, and what the host itself has redirected (published ports). Another
    node's bridge on the same host counts as outside, as Docker keeps its bridges apart. The host itself reaches the
    containers: its packets are not forwarded. Containers reach the host as any other machine does, but for
    `closed_ports`: those they do not reach on whichever of its addresses, also through another node's bridge.

    Nor do they reach gossip or VXLAN of any host. Whoever can send a VXLAN packet to a node, in another node's name,
    speaks in every overlay: nothing in the packet proves who sent it, and masquerading gives a container its node's.

    Published ports need the bridge to route addresses of the loopback, as their clients may be there: no container
    gets to what the host has for itself alone on 127.0.0.1, whatever else is published or withdrawn.
    """
    vxlan = ", ".join(str(port) for port in sorted({VXLAN_PORT, vxlan_port, GOSSIP_PORT}))
    ports = ", ".join(str(port) for port in sorted(closed_ports))
    closed = f'\t\tiifname "{BRIDGES}" tcp dport {{ {ports} }} drop\n' if ports else ""
    # Declaring the table before deleting it makes the delete succeed whether or not it was there.
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {subnet} oifname != "{bridge}" masquerade
	}}
	chain loopback {{
		type filter hook prerouting priority raw; policy accept;
		iifname "{bridge}" ip daddr 127.0.0.0/8 drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname "{bridge}" udp dport {{ {vxlan} }} drop
		iifname "{bridge}" tcp dport {GOSSIP_PORT} drop
		oifname != "{bridge}" accept
		iifname "{bridge}" accept
		ct state established,related accept
		ct status dnat accept
		drop
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname "{BRIDGES}" udp dport {{ {vxlan} }} drop
		iifname "{BRIDGES}" tcp dport {GOSSIP_PORT} drop
{closed}	}}
}}
"""


def isolated_rules(table: str, bridge: str) -> str:
    """Return the rules of an internal bridge: its containers reach each other, and nobody else."""
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname "{bridge}" oifname "{bridge}" accept
		iifname "{bridge}" drop
		oifname "{bridge}" drop
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname "{bridge}" ct state new drop
	}}
}}
"""


def remove_rules(table: str) -> str:
    """Return what removes the table, whether or not it is there."""
    return f"table ip {table} {{}}\ndelete table ip {table}\n"
