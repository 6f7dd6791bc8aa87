"""Gives containers on the bridge their ports of this host, and takes them back. Blocking; the bridge's thread uses it.

In: a container's place on the bridge, the ports that it asks for; out: those that it was given, with what holds them.
What other programs listen on is never taken from them. The rules are compared with what nft listed after they were
written, and are written again where somebody else has changed them.
"""

import errno
import logging
import os
import resource
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from shoal.errors import ShoalError
from shoal.network import nft_messages, rtnetlink
from shoal.network.host_ports import holding, ports, rules
from shoal.network.host_ports.direct import Direct, address6
from shoal.network.host_ports.held import Held
from shoal.network.host_ports.ports import Lead, Leads, Published
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.sysctls import set_sysctl
from shoal.network.translation.places import Place
from shoal.network.translation.rules import Bridge as Beside
from shoal.network.translation.translated import TranslatedPorts
from shoal.network.types import Endpoint, HostPort

if TYPE_CHECKING:
    from shoal.network.kernel.nftables import Nftables

log = logging.getLogger(__name__)

_KERNEL = Path("/proc/sys/net/ipv4")


class Publisher:
    """The host ports of one node."""

    def __init__(
        self, bridge: str, table: str, subnet: IPv4Network, place: Place | None = None, direct: Direct | None = None
    ) -> None:
        """`place`: how IPv6 clients get there; None: they do not. `direct`: where they are seen as themselves."""
        self._bridge = bridge
        self.table = table
        self._subnet = subnet
        self._nftables: Nftables | None = None
        self._namespaces: Namespaces | None = None
        self._leads: dict[Published, Lead] = {}
        self._written = ""  # what nft then listed
        self._last = 0  # the number that was chosen last
        self._led: Mapping[Published, tuple[IPv6Address, int]] = {}  # to addresses of IPv6
        self._direct = direct
        self._words = ""  # of the last failure to give the bridge an address of IPv6
        beside = Beside(direct.bridge, direct.prefix) if direct else None
        self._six = TranslatedPorts(table, place, lambda text: self._nft().run(text), beside) if place else None

    def close(self) -> None:
        """Close what is open here; the rules stay."""
        if self._nftables is not None:
            self._nftables.close()
        if self._namespaces is not None:
            self._namespaces.close()
        if self._direct is not None:
            self._direct.close()

    @property
    def leads(self) -> Leads:
        """Which port leads where."""
        return dict(self._leads)

    def publish(
        self, container: str, place: Endpoint, asked: Sequence[HostPort], kept: Collection[Published] = ()
    ) -> Held:
        """Let ports of this host lead to a container. ShoalError with Docker's words: none of them does then.

        `kept` are the node's own, also while nothing listens there.
        """
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if len(asked) > limit // 8:  # one of each kind of IP; who inherits them has them twice for a moment
            raise ShoalError(f"{len(asked)} ports of the host are too many where {limit} files may be open")
        taken: list[Held] = []
        given: dict[int, HostPort] = {}
        try:
            # Those that are asked for by number first: none of them is to be given where any will do.
            for at, port in sorted(enumerate(asked), key=lambda one: one[1].published == 0):
                one = self._take(container, port, kept) if port.published else self._choose(container, port, kept)
                taken.append(one)
                given[at] = one.ports[0]
            ordered = tuple(given[at] for at in range(len(asked)))
            self._let_answer_itself(place.host_interface)
            new = ports.leads(container, IPv4Address(place.address), ordered)
            self._set({**ports.without(self._leads, container), **new})
        except BaseException:
            for one in taken:
                one.close()
            raise
        return Held(ordered, [sock for one in taken for sock in one.sockets])

    def unpublish(self, container: str) -> None:
        """Let no port lead to a container any more, and end the flows that it answered. May be repeated."""
        left = ports.without(self._leads, container)
        if left != self._leads:
            self._set(left)

    def adopt(self, leads: Leads, strays: Mapping[IPv4Address, str] = MappingProxyType({})) -> None:
        """Take over what the last run published, and remove whatever else is left of it.

        What leads to `strays`, which run though no record names them, goes on under the names that are given.
        """
        former = self._former()
        lost = {
            port: Lead(strays[address], address, target)
            for port, (address, target) in (former or {}).items()
            if address in strays
        }
        self._leads = {}
        leads = {**lost, **leads}
        if leads:
            set_sysctl(f"ipv4/conf/{self._bridge}/route_localnet", "1")
            self._write(leads)
        elif former is not None:
            self._nft().run(rules.remove(self.table))
        stale = {address for address, _ in (former or {}).values()} - {lead.address for lead in leads.values()}
        self._end(stale)
        self._translate()

    def mend(self) -> None:
        """Write the rules again where they are not as they were written."""
        if self._leads and self._listing() != self._written:
            log.warning("somebody has changed the rules of published ports in nftables: they are written again")
            self._write(self._leads)
        self._translate()

    def _translate(self) -> None:
        """Let the ports answer over IPv6 as well."""
        if self._six is None:
            return
        if self._direct is None or not self._leads:
            if self._direct is not None:
                self._direct.remove()  # before the rules that guard it
            self._led = {}
            self._six.apply(self._leads)
            return
        # First the rules that keep containers from everything else: without them none is given an address.
        prefix = self._direct.prefix
        places = {port: (address6(prefix, lead.address), lead.target) for port, lead in self._leads.items()}
        former = {port: to for port, to in self._led.items() if places.get(port) == to}
        if not self._six.apply(self._leads, former):
            self._direct.remove()
            self._led = {}
            return
        found = self._direct.look(self._leads)
        if found != former:
            try:
                if found:
                    self._direct.open_bridge()
                self._words = ""
            except (OSError, ShoalError) as error:
                if str(error) != self._words:  # it is tried again every few seconds
                    log.warning("IPv6 clients of published ports are seen as this host: %s", error)
                self._words = str(error)
                found = {}
            self._six.apply(self._leads, found)
        self._led = found

    def look(self) -> None:
        """See which containers listen on IPv6 by now, or no longer."""
        if self._leads:
            self._translate()

    def remove(self) -> None:
        """Remove all rules. May be repeated."""
        self._leads, self._written = {}, ""
        self._translate()
        if self._is_there():
            self._nft().run(rules.remove(self.table))

    def _take(self, container: str, port: HostPort, kept: Collection[Published]) -> Held:
        number, protocol = port.published, port.protocol
        lead = self._leads.get((protocol, number))
        mine = lead is not None and lead.container != container
        try:
            if (protocol, number) in kept:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            sockets = holding.hold_both(protocol, number)
        except OSError as error:
            if mine and error.errno == errno.EADDRINUSE:
                raise ShoalError(_allocated(number)) from error
            raise ShoalError(
                f"failed to bind host port {error.filename or '0.0.0.0'}:{number}/{protocol}: "
                f"{(error.strerror or str(error)).lower()}"
            ) from error
        if not sockets and mine:
            raise ShoalError(_allocated(number))
        # Who had it and holds it no more has ended, though its rules are not gone yet.
        return Held([port], sockets)

    def _choose(self, container: str, port: HostPort, kept: Collection[Published]) -> Held:
        protocol = port.protocol
        used = {number for word, number in (*self._leads, *kept) if word == protocol}
        away = used | ports.reserved(_read("ip_local_reserved_ports"))
        for number in ports.candidates(ports.local_range(_read("ip_local_port_range")), self._last, away):
            try:
                sockets = holding.hold_both(protocol, number)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise ShoalError(f"failed to bind a host port for {port.target}/{protocol}: {error}") from error
                continue
            self._last = number
            return Held([HostPort(protocol, port.target, number)], sockets)
        raise ShoalError("all ports are allocated")

    def _set(self, leads: Leads) -> None:
        former = dict(self._leads)
        if leads:
            set_sysctl(f"ipv4/conf/{self._bridge}/route_localnet", "1")
            self._write(leads)
        else:
            self._nft().run(rules.remove(self.table))
            self._leads, self._written = {}, ""
        # A flow of UDP to a port that was not published is remembered with where it led: to nobody.
        self._end(_changed(former, leads), [port for port in leads if port not in former and port[0] != "tcp"])
        self._translate()

    def _write(self, leads: Leads) -> None:
        text = rules.rules(self.table, self._bridge, self._subnet, leads)
        try:
            self._nft().run(text)
        except ShoalError:
            # Something that is no longer ours stands under one of our names. What is wrong with ours is said now.
            self._nft().run(rules.remove(self.table) + text)
        self._leads = dict(leads)
        self._written = self._listing()

    def _end(self, answered: Collection[IPv4Address], begun: Collection[Published] = ()) -> None:
        """Have the kernel forget flows that these addresses answered, and those that were begun to these ports."""
        if not answered and not begun:
            return
        from shoal.network.balancing import ending  # as `_nft`
        from shoal.network.balancing.flows import Endings

        with NetlinkSocket() as kernel:
            own = rtnetlink.addresses(kernel.run(rtnetlink.list_addresses()))
        four = {address for _, address in own if address.version == 4}
        ports = {(protocol, one, number) for protocol, number in begun for one in four}
        try:
            with NetlinkSocket(netfilter=True) as conntrack:
                ending.end(conntrack, Endings(answered=frozenset(answered), begun=ports))
        except (OSError, ShoalError) as error:
            log.warning("flows to ports that lead elsewhere now were not ended: %s", error)

    def _let_answer_itself(self, interface: str) -> None:
        """A container that reaches itself by a port of the host: where bridges' packets pass the rules of IP
        (br_netfilter), they go back out of its port without being routed."""
        with NetlinkSocket() as kernel:
            link = kernel.link(interface)
            if link is not None:
                kernel.run(rtnetlink.hairpin(link.index))

    def _former(self) -> dict[Published, tuple[IPv4Address, int]] | None:
        """Return where ports lead by the rules of the last run; None where there are no rules."""
        return rules.places(self._nft().run(f"list table ip {self.table}", json=True)) if self._is_there() else None

    def _is_there(self) -> bool:
        with NetlinkSocket(netfilter=True) as kernel:
            try:
                kernel.run(nft_messages.get_table(self.table))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                return False
        return True

    def _listing(self) -> str:
        return self._nft().run(f"list table ip {self.table}") if self._is_there() else ""

    def _nft(self) -> "Nftables":
        if self._nftables is None:
            # Nobody pays for it on a node without host ports.
            from shoal.network.kernel.nftables import Nftables

            self._namespaces = Namespaces()
            self._nftables = Nftables(self._namespaces)
        return self._nftables


def _changed(former: Leads, now: Mapping[Published, Lead]) -> set[IPv4Address]:
    """Return the addresses that some port led to and does not lead to any more."""
    return {lead.address for port, lead in former.items() if now.get(port) != lead}


def _allocated(number: int) -> str:
    return f"Bind for 0.0.0.0:{number} failed: port is already allocated"


def _read(name: str) -> str:
    try:
        return (_KERNEL / name).read_text()
    except OSError:
        return ""  # this kernel does not say, and the defaults hold
