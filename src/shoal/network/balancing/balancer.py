"""Keeps the virtual IPs in containers' namespaces as they are wanted. Blocking; the thread of `namespaces` uses it.

What it wrote it remembers, so that a change costs what changed. Of a namespace that it has not seen it reads what an
earlier process wrote, and goes on from there: no connection ends for it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

from shoal.errors import ShoalError
from shoal.network.balancing import ending, flows, rules
from shoal.network.balancing.flows import Endings, Flow
from shoal.network.balancing.rules import Found, Virtual
from shoal.network.kernel.nftables import Refused
from shoal.network.kernel.watched import Watched
from shoal.network.rtnetlink import Address, Request

Virtuals = Mapping[Address, Virtual]
# Connections that are counted for one virtual IP: a full table has a quarter of a million, which take a second to read.
MOST_COUNTED = 20_000


@dataclass(slots=True)
class _Known:
    inode: int  # the namespace's: a path may be used again
    virtuals: Virtuals


class Balancer:
    """The virtual IPs of all containers of this node."""

    def __init__(self, nftables: Watched, rng: Random) -> None:
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

    def look(self, netns: Path) -> dict[Address, Found]:
        """Return the virtual IPs that the kernel has in a namespace, whatever was written. OSError, ShoalError."""
        with netns.open("rb") as file:
            try:
                listing = self._nftables.run(f"list table {rules.TABLE}", file.fileno(), json=True)
            except Refused:  # there is no such table
                return {}
            return {
                address: Found(backends, self._count(file.fileno(), address))
                for address, backends in rules.behind(listing).items()
            }

    def _count(self, netns: int, virtual: Address) -> Mapping[Address, int]:
        try:
            conntrack = self._nftables.socket(netns)
            return flows.tally(islice(conntrack.stream(flows.list_all(virtual)), MOST_COUNTED), virtual)
        finally:
            self._nftables.drop_socket(netns)  # there may be more than was read

    def forget(self, netns: Path) -> None:
        """A container is gone, or is to be looked at again."""
        self._known.pop(netns, None)

    def _take_over(self, netns: int, virtuals: Virtuals) -> None:
        found = self._nftables.addresses(netns, rules.NAME, rules.maps())
        if found is None and not virtuals:
            return
        there = dict.fromkeys(found or ())
        self._write(netns, rules.update(there, virtuals, self._rng), rules.update({}, virtuals, self._rng))
        known = there.keys() | virtuals.keys()
        self._end_chosen(
            netns,
            Endings(dict.fromkeys(known)).lists(),
            lambda flow: flow.to in known and rules.is_stale(virtuals, flow.to, flow.answers),
        )

    def _end_chosen(self, netns: int, lists: Sequence[Request], chosen: Callable[[Flow], bool]) -> None:
        conntrack = self._nftables.socket(netns)
        if not lists or not flows.count(conntrack.run(flows.get_count())):
            return  # as in a container that is about to start
        try:
            ending.end_chosen(conntrack, lists, chosen)
        except OSError as error:
            self._nftables.drop_socket(netns)  # there may be more than was read
            raise ShoalError(f"connections that lead elsewhere now cannot be ended: {error.strerror}") from error

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

    def _end(self, netns: int, ended: Endings) -> None:
        self._end_chosen(netns, ended.lists(), ended.names)
