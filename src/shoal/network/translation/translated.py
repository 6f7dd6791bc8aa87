"""Keeps ports of this host published over IPv6. Blocking; to be used in the host's network namespace.

In: which ports; the rules of IPv4 say where they lead, and are made before. What cannot be done is logged and tried
again by the next call: IPv4 does without.
"""

import errno
import logging
from collections.abc import Callable, Collection
from ipaddress import IPv6Address
from socket import AF_INET6
from types import MappingProxyType

from shoal.errors import ShoalError
from shoal.network import nft_messages, rtnetlink
from shoal.network.netlink import NetlinkSocket
from shoal.network.translation import forwarding, rules, translator
from shoal.network.translation.places import Place
from shoal.network.wanted import Protocol

log = logging.getLogger(__name__)

Ports = Collection[tuple[Protocol, int]]
_NONE: rules.Direct = MappingProxyType({})


class TranslatedPorts:
    """The ports of one translation. `run` carries out a text of nft's language, and returns what nft prints."""

    def __init__(self, table: str, place: Place, run: Callable[[str], str], bridge: rules.Bridge | None = None) -> None:
        """`bridge`: one whose containers may have addresses of IPv6."""
        self.table = table
        self.place = place
        self._run = run
        self._bridge = bridge
        self._direct: rules.Direct = {}
        self._ports: frozenset[tuple[Protocol, int]] | None = None  # as they are in the kernel; None: not known
        self._listed = ""  # what nft then showed
        self._generation = -1  # of all packet rules of the host, when these were known to stand
        self._words = ""  # of the last failure

    def apply(self, ports: Ports, direct: rules.Direct = _NONE) -> bool:
        """Make it so: exactly these ports. May be repeated, and mends what others have changed.

        `direct`: those that lead to a container's own address. False: it could not be done, or there is nothing now.
        """
        try:
            wanted = bool(ports) and forwarding.available()
            if wanted:
                self._apply(frozenset(ports), direct)
            else:
                self.remove()
            self._words = ""
            return wanted
        except (OSError, ShoalError) as error:
            self._ports = None
            if str(error) != self._words:
                log.warning("published ports do not answer over IPv6: %s", error)
            self._words = str(error)
            return False

    def _apply(self, ports: frozenset[tuple[Protocol, int]], direct: rules.Direct) -> None:
        translator.make(self.place)
        if self._ports == ports and self._direct == direct and self._stands():
            return
        former = self._ports
        if former is None:
            # Whose rules they are is not known; what is begun goes on by those that say the same.
            former = ports if self._listing() else frozenset()
        text = rules.rules(self.table, self.place, ports, self._bridge, direct)
        try:
            self._run(text)
        except ShoalError:
            # Something that is no longer ours stands under one of our names. What is wrong with ours is said now.
            self._run(rules.remove(self.table) + text)
        gone = {to for to, _ in self._direct.values()} - {to for to, _ in direct.values()}
        self._end_flows(former ^ ports, gone)
        self._ports, self._direct = ports, dict(direct)
        self._generation = _generation()
        self._listed = self._listing()

    def remove(self) -> None:
        """Take all away. May be repeated. OSError, ShoalError."""
        if remove(self.table, self.place.device, self._run):
            self._end_flows(self._ports or (), {to for to, _ in self._direct.values()})
        self._ports, self._listed, self._direct = None, "", {}

    def _stands(self) -> bool:
        """Return whether the rules are as they were written; listed only after somebody changed any."""
        now = _generation()
        if (now != self._generation or not now) and self._listing() != self._listed:
            return False
        self._generation = now
        return True

    def _listing(self) -> str:
        try:
            return self._run(f"list table ip6 {self.table}")
        except ShoalError:
            return ""

    def _end_flows(self, changed: Ports, answered: Collection[IPv6Address] = ()) -> None:
        """Have the kernel forget where flows of UDP to these ports led: to nobody, or to a port that is no longer.

        So also all flows that these addresses answered.
        """
        begun = [(protocol, number) for protocol, number in changed if protocol != "tcp"]
        if not begun and not answered:
            return
        from shoal.network.balancing import ending  # nobody pays for it on a node without such ports
        from shoal.network.balancing.flows import Endings

        with NetlinkSocket() as kernel:
            own = rtnetlink.addresses(kernel.run(rtnetlink.list_addresses()))
        six = {address for _, address in own if address.version == 6}
        to = {(protocol, one, number) for protocol, number in begun for one in six}
        with NetlinkSocket(netfilter=True) as conntrack:
            ending.end(conntrack, Endings(answered=frozenset(answered), begun=to))


def remove(table: str, device: str, run: Callable[[str], str]) -> bool:
    """Take a translation away; return whether there was one. OSError, ShoalError."""
    # The device is the first that is made and the last that goes, unless others take it away: then the table swallows
    # what comes to its ports.
    if not translator.stands(device) and not _has_table(table):
        return False
    run(rules.remove(table))
    translator.remove(device)
    return True


def _has_table(table: str) -> bool:
    with NetlinkSocket(netfilter=True) as kernel:
        try:
            kernel.run(nft_messages.get_table(table, AF_INET6))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
    return True


def _generation() -> int:
    with NetlinkSocket(netfilter=True) as kernel:
        return nft_messages.generation(kernel.run(nft_messages.get_generation()))
