"""The mesh's packet rules as one text of nft's language: a transaction, after which all is as wanted.

Pure. Chains and sets are filled anew and never deleted while they are in use, so that no packet finds none.

A user's own table holds against published ports: what any table drops is dropped. In its hook prerouting, before
priority -100, a published port is still the destination.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, get_args

from shoal.network.mesh.state import BACKEND, GATEWAYS, MARK, MARKS, Backend, Mesh
from shoal.network.wanted import Protocol

if TYPE_CHECKING:
    from random import Random

PublishedPort = tuple[Protocol, int]


def rules(mesh: Mesh, known: Collection[PublishedPort], rng: "Random") -> str:
    """Return the text. `known`: the published ports that have chains already."""
    table = f"ip {mesh.table}"
    lines = [f"add table {table}", *_sets(table, mesh), *_ports(table, mesh, rng)]
    for name, kind, body in _chains(mesh):
        lines += [f"add chain {table} {name} {{ type {kind}; policy accept; }}", f"flush chain {table} {name}"]
        lines += [f"add rule {table} {name} {rule}" for rule in body]
    for port in known:
        if port not in mesh.published:
            lines += [f"flush chain {table} {chain(port)}", f"delete chain {table} {chain(port)}"]
    netdev = f"netdev {mesh.table}"
    lines += [
        f"add table {netdev}",
        f'add chain {netdev} ingress {{ type filter hook ingress device "{mesh.device}" priority 0; policy accept; }}',
        f"flush chain {netdev} ingress",
        # What is for a task's MAC is for this host, which has another.
        f"add rule {netdev} ingress meta protocol ip meta pkttype other meta pkttype set host",
    ]
    return "\n".join([*lines, ""])


def remove(mesh_table: str) -> str:
    """Return what removes the tables, whether or not they are there."""
    return "".join(
        f"add table {family} {mesh_table}\ndelete table {family} {mesh_table}\n" for family in ("ip", "netdev")
    )


def chain(port: PublishedPort) -> str:
    """Return the name of a published port's chain."""
    return f"port_{port[0]}_{port[1]}"


def port_of(name: str) -> PublishedPort | None:
    """Return the published port whose chain has this name; None where it is another chain."""
    for protocol in get_args(Protocol):
        number = name.removeprefix(f"port_{protocol}_")
        if number != name and number.isdecimal():
            return protocol, int(number)
    return None


def _sets(table: str, mesh: Mesh) -> list[str]:
    kinds = {
        "set nodes": ("type ipv4_addr;", [str(one) for one in mesh.nodes]),
        "set own_subnets": (
            "type ipv4_addr; flags interval; auto-merge;",
            ["127.0.0.0/8", *(str(one) for one in mesh.own_subnets)],
        ),
        "set without_source": ("type ipv4_addr;", [str(one) for one in mesh.without_source]),
        "map gateways": (
            "type ether_addr : mark;",
            [f"{one.mac} : {mesh.mark(one.address):#x}" for one in mesh.gateways],
        ),
        "map here": (
            "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;",
            [f"{x.ingress} . {x.protocol} . {x.published} : {x.address} . {x.target}" for x in mesh.here],
        ),
        "map published": (
            "type inet_proto . inet_service : verdict;",
            [f"{protocol} . {port} : goto {chain((protocol, port))}" for protocol, port in mesh.published],
        ),
    }
    lines = [f"add chain {table} {chain(port)}" for port in mesh.published]
    for name, (kind, elements) in kinds.items():
        lines += [f"add {name.replace(' ', f' {table} ')} {{ {kind} }}", f"flush {name.replace(' ', f' {table} ')}"]
        if elements:
            lines.append(f"add element {table} {name.split()[1]} {{ {', '.join(sorted(elements))} }}")
    return lines


def _ports(table: str, mesh: Mesh, rng: "Random") -> Iterable[str]:
    for port, backends in mesh.published.items():
        yield f"flush chain {table} {chain(port)}"
        for rule in _port(port[0], backends, rng):
            yield f"add rule {table} {chain(port)} {rule}"


def _port(protocol: Protocol, backends: frozenset[Backend], rng: "Random") -> list[str]:
    if not backends:
        return ["meta l4proto tcp reject with tcp reset", "reject"]
    order = sorted(backends, key=lambda one: (one.address, one.port))
    rng.shuffle(order)  # as in balancing/rules.py, and so is the last rule
    last = f"meta l4proto {protocol} dnat ip to {order[-1].address}:{order[-1].port}"
    rules = [f"ct mark set {BACKEND:#x} meta mark set {BACKEND:#x}"]
    if len(order) > 1:
        each = ", ".join(f"{number} : {one.address} . {one.port}" for number, one in enumerate(order))
        rules.append(f"meta l4proto {protocol} dnat ip to numgen inc mod {len(order)} map {{ {each} }}")
    return [*rules, last]


def _chains(mesh: Mesh) -> list[tuple[str, str, list[str]]]:
    """Return the chains at the kernel's hooks: name, place, rules."""
    device, bridge, own = f'"{mesh.device}"', f'"{mesh.bridge}"', mesh.own.ip
    backend = f"ct direction original ct mark {BACKEND:#x} meta mark set {BACKEND:#x}"
    untracked = f"udp dport {mesh.vxlan_port} notrack"  # one flow an outer packet would be too many
    published = "fib daddr type local meta l4proto . th dport vmap @published"
    gateway = f"and {GATEWAYS:#x} == {MARK:#x}"
    closed = ["ct direction reply accept", "ct status dnat accept", "drop"]
    clamp = "tcp flags syn tcp option maxseg size set rt mtu"
    return [
        (
            "raw_in",
            "filter hook prerouting priority raw",
            [untracked, f"iifname {{ {device}, {bridge} }} ip daddr 127.0.0.0/8 drop"],
        ),
        ("raw_out", "filter hook output priority raw", [untracked]),
        (
            "mark_in",
            "filter hook prerouting priority -110",
            [
                f"iifname {device} ct state new ct mark set ether saddr map @gateways",
                f"iifname {device} ct state new ct mark and {GATEWAYS:#x} != {MARK:#x} drop",
                backend,
                f"ct direction reply ct mark {gateway} meta mark set ct mark",
            ],
        ),
        # Before the other's NAT, or a connection from 127.0.0.1 finds no route.
        ("mark_out", "route hook output priority -110", [backend]),
        (
            "nat_in",
            "nat hook prerouting priority dstnat",
            [
                f"iifname {device} dnat ip to ip daddr . meta l4proto . th dport map @here",
                f"iifname != {device} {published}",
            ],
        ),
        ("nat_out", "nat hook output priority -100", [published]),
        (
            "source",
            "nat hook postrouting priority 95",
            [
                *(
                    f"oifname {device} {whose} snat to {own}"
                    for whose in (
                        "ip daddr @without_source",
                        "ip saddr @nodes",
                        "ip saddr @own_subnets",
                        "fib saddr type local",
                    )
                ),
                f"oifname {bridge} ct mark {BACKEND:#x} ip daddr @without_source snat to {own}",
                f"oifname {bridge} ct mark and {MARKS:#x} == {MARK:#x} ip saddr @own_subnets masquerade",
            ],
        ),
        # VXLAN routes its outer packet by the inner one's mark: left on, packets go round in a circle.
        ("clear", "filter hook postrouting priority 150", [f"meta mark and {MARKS:#x} == {MARK:#x} meta mark set 0"]),
        (
            "forward",
            "filter hook forward priority filter",
            [f"oifname {device} {clamp}", f"iifname {device} {clamp}", f"iifname != {device} accept", *closed],
        ),
        ("input", "filter hook input priority filter", [f"iifname != {device} accept", *closed]),
    ]
