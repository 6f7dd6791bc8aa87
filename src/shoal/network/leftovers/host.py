"""This host's packet rules as far as leftovers are looked for in them: read, and removed. Blocking.

Rules of nftables, also those that iptables-nft wrote, are libnftables' matter, which is loaded only where there is
something of Docker's or Shoal's. The older kind is reached by the program `iptables-legacy` alone, where it is
installed.
"""

import errno
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import MissingProgram, ShoalError
from shoal.host import programs
from shoal.network import nft_messages, rtnetlink
from shoal.network.host_ports.ports import Published
from shoal.network.leftovers import chains, texts
from shoal.network.leftovers.chains import Table
from shoal.network.leftovers.docker import CHAINS, Removal
from shoal.network.leftovers.shoals import Name, device_tag, translation_tag
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket

if TYPE_CHECKING:
    from shoal.network.kernel.nftables import Nftables

TIMEOUT = 30.0
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
# Where Docker writes.
_TABLES = ("filter", "nat", "raw", "mangle")
_NET = Path("/proc/thread-self/net")
_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class Names:
    """What there is in nftables, by name."""

    tables: frozenset[Name]
    chains: frozenset[tuple[str, str, str]]

    @property
    def dockers(self) -> list[Name]:
        """iptables' tables in the families where there are chains of Docker's."""
        families = {family for family, table, chain in self.chains if family in FAMILIES and (table, chain) in CHAINS}
        return [(family, name) for family, name in sorted(self.tables) if family in families and name in _TABLES]


class Host:
    """The namespace that the calling thread is in."""

    def generation(self) -> int:
        """Return a number that changes with each change of nftables' rules."""
        with NetlinkSocket(netfilter=True) as kernel:
            return nft_messages.generation(kernel.run(nft_messages.get_generation()))

    def names(self) -> Names:
        """Return what there is in nftables."""
        with NetlinkSocket(netfilter=True) as kernel:
            return Names(
                frozenset(nft_messages.tables(kernel.run(nft_messages.list_tables()))),
                frozenset(nft_messages.chains(kernel.run(nft_messages.list_chains()))),
            )

    def links(self) -> list[rtnetlink.Link]:
        """Return the interfaces."""
        with NetlinkSocket() as kernel:
            return rtnetlink.links(kernel.run(rtnetlink.list_links()))

    def read(self, tables: Iterable[Name]) -> list[Table]:
        """Return these tables of nftables."""
        with _nftables() as nft:
            return [
                chains.from_nft(nft.run(f"list table {family} {name}", json=True), family, name)
                for family, name in tables
            ]

    def remove(self, removals: Iterable[Removal], tables: Collection[Name]) -> None:
        """Remove this from nftables, all or nothing. ShoalError."""
        with _nftables() as nft:
            nft.run(texts.for_nft(removals, tables))

    def legacy_families(self) -> list[str]:
        """Return the families that have tables of the older kind where Docker writes."""
        found = []
        for family in FAMILIES:
            try:
                names = (_NET / f"{family}_tables_names").read_text().split()
            except FileNotFoundError:
                continue
            if {"nat", "filter"} & set(names):
                found.append(family)
        return found

    def read_legacy(self, family: str) -> list[Table]:
        """Return the tables of the older kind. ShoalError, MissingProgram."""
        return chains.from_save(_run(f"{FAMILIES[family]}-legacy-save"), family)

    def remove_legacy(self, family: str, removals: Iterable[Removal]) -> None:
        """Remove this from the tables of the older kind, each all or nothing. ShoalError."""
        _run(f"{FAMILIES[family]}-legacy-restore", "--noflush", "--wait", "5", text=texts.for_restore(removals))

    def end_flows(self, ports: Collection[Published]) -> None:
        """Have the kernel forget the flows to these ports of this host."""
        if not ports:
            return
        from shoal.network.balancing import ending  # as `_nftables`
        from shoal.network.balancing.flows import Endings

        with NetlinkSocket() as kernel:
            own = rtnetlink.addresses(kernel.run(rtnetlink.list_addresses()))
        four = {address for _, address in own if address.version == 4}
        begun = {(protocol, address, port) for protocol, port in ports for address in four}
        with NetlinkSocket(netfilter=True) as conntrack:
            ending.end(conntrack, Endings(begun=begun))

    def remove_meshes(self, gone: Collection[str]) -> list[str]:
        """Remove the devices of the meshes of these daemons, and with the last of all the rules that lead there.

        With them go those by which published ports answer over IPv6.
        """
        from shoal.network import policy  # as `_nftables`
        from shoal.network.mesh import routing

        links = self.links()
        meshes = [link for link in links if device_tag(link.name)]
        leaving = [link for link in meshes if device_tag(link.name) in gone]
        with NetlinkSocket() as kernel:
            translations = [link for link in links if translation_tag(link.name) in gone]
            requests = [rtnetlink.delete_link(link.index) for link in (*leaving, *translations)]
            if leaving and len(leaving) == len(meshes):
                requests += [
                    policy.delete_rule(one) for one in routing.ours(policy.rules(kernel.run(policy.list_rules())))
                ]
            bad = [number for number in kernel.try_all(requests) if number and number not in _GONE]
        if bad:
            raise OSError(bad[0], "a routing mesh cannot be removed")
        return [link.name for link in (*leaving, *translations)]


@contextmanager
def _nftables() -> Iterator["Nftables"]:
    # Nobody pays for it where nothing is left.
    from shoal.network.kernel.nftables import Nftables

    namespaces = Namespaces()
    try:
        nft = Nftables(namespaces)
        try:
            yield nft
        finally:
            nft.close()
    finally:
        namespaces.close()


def _run(program: str, *arguments: str, text: str = "") -> str:
    try:
        path = programs.find(program)
    except MissingProgram as error:
        raise MissingProgram(program, "iptables") from error
    command = [path, *arguments]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ShoalError(f"{program} does not end") from error
    if done.returncode != 0:
        raise ShoalError(f"{program}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")
