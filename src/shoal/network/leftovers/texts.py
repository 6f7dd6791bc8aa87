"""The removal of Docker's rules as texts: of nft's language, and for iptables-restore. Pure.

Each is one transaction and names every rule: where somebody has written one meanwhile, the chain is not empty and
nothing of the text holds.
"""

from collections.abc import Iterable

from shoal.network.leftovers.docker import Removal


def for_nft(removals: Iterable[Removal], tables: Iterable[tuple[str, str]] = ()) -> str:
    """Return the text for nft. `tables`: family and name of those that go whole."""
    lines = []
    for one in removals:
        table = f"{one.table.family} {one.table.name}"
        lines += [f"delete rule {table} {rule.chain} handle {rule.at}" for rule in one.rules]
        lines += [f"delete chain {table} {chain}" for chain in one.chains]
        if one.opens:
            lines.append(f"add chain {table} FORWARD {{ policy accept; }}")
    lines += [f"delete table {family} {name}" for family, name in tables]
    return "".join(f"{line}\n" for line in lines)


def for_restore(removals: Iterable[Removal]) -> str:
    """Return the text for `iptables-restore --noflush` of one family. Each table is a transaction of its own."""
    lines = []
    for one in removals:
        lines.append(f"*{one.table.name}")
        if one.opens:
            lines.append(":FORWARD ACCEPT [0:0]")
        lines += [f"-D {rule.chain} {rule.at}" for rule in one.rules]
        lines += [f"-X {chain}" for chain in one.chains]
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)
