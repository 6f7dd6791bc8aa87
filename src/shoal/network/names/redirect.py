"""The nftables text that leads a container's questions to our ports. Pure.

Port 53 is not ours to bind: a container may want it on all its addresses. Docker redirects in the same way.
"""

from shoal.network.names.resolvconf import SERVER

TABLE = "shoal_names"


def redirect(udp_port: int, tcp_port: int) -> str:
    """Return what `nft -f -` is given in a container's network namespace. It may be repeated: the table is replaced."""
    return f"""\
table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
    chain output {{
        type nat hook output priority -100; policy accept;
        ip daddr {SERVER} udp dport 53 dnat to {SERVER}:{udp_port}
        ip daddr {SERVER} tcp dport 53 dnat to {SERVER}:{tcp_port}
    }}
}}
"""
