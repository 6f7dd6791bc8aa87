"""Keeps the virtual IPs in containers' namespaces as they are wanted. Blocking; the thread of `namespaces` uses it.

What it wrote it remembers, so that a change costs what changed. Of a namespace that it has not seen it reads what an
earlier process wrote, and goes on from there: no connection ends for it.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shoal.errors import ShoalError
from shoal.network.balancing import flows, rules
from shoal.network.balancing.rules import Flows, Virtual
from shoal.network.kernel.nftables import Nftables, Refused
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address

Virtuals = Mapping[Address, Virtual]


@dataclass(slots=True)
class _Known:
    inode: int  # the namespace's: a path may be used again
    virtuals: Virtuals


class Balancer:
    """The virtual IPs of all containers of this node."""

    def __init__(self, namespaces: Namespaces, nftables: Nftables, rng: Random) -> None:
        self._namespaces = namespaces
        self._nftables = nftables
        self._rng = rng
        self._known: dict[Path, _Known] = {}
        # Two states, and what they differ in: many containers go from the same one to the same other.
        self._step: tuple[Virtuals, Virtuals, tuple[Virtuals, Virtuals]] = ({}, {}, ({}, {}))

    def apply(self, netns: Path, virtuals: Virtuals) -> None:
        """Make a namespace's virtual IPs so. OSError, ShoalError; may be repeated, and then begins by looking.

        A container without a virtual IP gets no table. `virtuals` is not changed afterwards, by nobody.
        """
        with netns.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            known = self._known.pop(netns, None)
            if known is None or known.inode != inode:
                self._take_over(file.fileno(), virtuals)
            elif known.virtuals is not virtuals:
                before, after = self._differing(known.virtuals, virtuals)
                text = rules.update(before, after, self._rng)
                if text and not known.virtuals:
                    text = rules.start() + text
                if text:
                    self._nftables.run(text, file.fileno())
                self._end(file.fileno(), rules.ended(before, after))
        self._known[netns] = _Known(inode, virtuals)

    def _differing(self, known: Virtuals, virtuals: Virtuals) -> tuple[Virtuals, Virtuals]:
        if self._step[0] is not known or self._step[1] is not virtuals:
            self._step = (known, virtuals, rules.differing(known, virtuals))
        return self._step[2]

    def forget(self, netns: Path) -> None:
        """A container is gone, or is to be looked at again."""
        self._known.pop(netns, None)

    def _take_over(self, netns: int, virtuals: Virtuals) -> None:
        try:
            there = rules.read(self._nftables.run(f"list table {rules.TABLE}", netns, json=True))
        except Refused:  # there is no such table
            there = {}
            if not virtuals:
                return
        self._nftables.run(rules.start() + rules.update(there, virtuals, self._rng), netns)
        with self._conntrack(netns) as conntrack:
            for address in there.keys() | virtuals.keys():
                answering = flows.answering(conntrack.run(flows.list_all(address)))
                for one in rules.stale(virtuals.get(address, Virtual(address)), answering):
                    _end(conntrack, one)

    def _end(self, netns: int, ended: list[Flows]) -> None:
        if ended:
            with self._conntrack(netns) as conntrack:
                for one in ended:
                    _end(conntrack, one)

    def _conntrack(self, netns: int) -> NetlinkSocket:
        with self._namespaces.inside(netns):
            return NetlinkSocket(netfilter=True)


def _end(conntrack: NetlinkSocket, ended: Flows) -> None:
    try:
        with suppress(FileNotFoundError):  # there are none
            conntrack.run(flows.delete(ended))
    except OSError as error:
        raise ShoalError(f"cannot end the connections to {ended.virtual}: {error.strerror}") from error
