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
from shoal.network.kernel.nftables import Refused
from shoal.network.kernel.watched import Watched
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

    def __init__(self, namespaces: Namespaces, nftables: Watched, rng: Random) -> None:
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
        found = self._nftables.addresses(netns, rules.NAME, rules.maps())
        if found is None and not virtuals:
            return
        there = dict.fromkeys(found or ())
        self._write(netns, rules.update(there, virtuals, self._rng), rules.update({}, virtuals, self._rng))
        with self._conntrack(netns) as conntrack:
            for address in there.keys() | virtuals.keys():
                answering = flows.answering(conntrack.run(flows.list_all(address)))
                for one in rules.stale(virtuals.get(address, Virtual(address)), answering):
                    _end(conntrack, one)

    def _write(self, netns: int, text: str, anew: str) -> None:
        """Make the table, or go on with what is there; where somebody has spoilt it, make it anew."""
        try:
            self._nftables.run(rules.start() + text, netns)
        except Refused:
            self._nftables.run(rules.removal() + rules.start() + anew, netns)

    def write_again(self, netns: Path) -> None:
        """Somebody else has written in a namespace: write all of ours again. OSError, ShoalError."""
        known = self._known.get(netns)
        if known is None or not known.virtuals:
            return
        with netns.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != known.inode:
                return
            text = rules.again(known.virtuals, self._rng)
            self._write(file.fileno(), text, text)
            # What began without these rules leads nowhere.
            self._end(file.fileno(), rules.ended({}, known.virtuals))

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
