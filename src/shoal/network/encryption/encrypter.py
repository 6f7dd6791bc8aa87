"""Makes the kernel encrypt as it is wanted. Blocking; the thread of `namespaces` uses it.

`prepare` adds what is missing before overlays are made, the guard first: whatever fails after it, no packet of theirs
leaves in the clear. `finish` removes what is too much, once overlays are gone. What was made is remembered; after a
failure, and at the start, the kernel is read. All associations of ours are those of this node's address with Docker's
request id: no other program has both.
"""

import errno
import os
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network.encryption import rules, xfrm
from shoal.network.encryption.wanted import Association, Encryption, Policy
from shoal.network.kernel.nftables import Nftables, Refused
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address, Request

# Addresses for documents (RFC 5737), in a namespace of their own.
_PROBE = Association(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), 0x1000, bytes(16))


_NEVER = {errno.EINVAL, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EOPNOTSUPP, errno.ENETUNREACH}


class Unguarded(ShoalError):
    """The packet rules could not be made: no encrypted overlay may be there."""


class Encrypter:
    """The security associations, policies and packet rules of one node. `scratch`: a path for a namespace."""

    def __init__(self, scratch: Path, tag: str, namespaces: Namespaces, nftables: Nftables) -> None:
        self._scratch = scratch
        self._tag = tag
        self._namespaces = namespaces
        self._nftables = nftables
        self._able = False
        self._own: set[Address] = set()  # where packets left from, while this program ran
        self._made: Encryption | None = None  # None: the kernel is to be read
        self._guarded: frozenset[int] = frozenset()
        self.refused: dict[Address, int] = {}
        """The nodes of which the kernel took no association or policy: the errno. What is for them is dropped."""
        self._listing = ""  # of our table, as it was made for these; empty: it is to be made

    def lacking(self) -> str:
        """Return why this host cannot encrypt; empty where it can."""
        if not self._able:
            try:
                self._probe()
            except Refused as error:
                return f"nft cannot tell encrypted packets from others here ({error})"
            except (OSError, ShoalError) as error:
                return (
                    f"this kernel has no ESP with AES-GCM ({error.strerror if isinstance(error, OSError) else error})"
                )
            self._able = True
        return ""

    def _probe(self) -> None:
        try:
            self._namespaces.create(self._scratch).close()
            with self._scratch.open("rb") as netns:
                with self._namespaces.inside(netns.fileno()):
                    probe = NetlinkSocket(xfrm=True)
                with probe:
                    probe.run(xfrm.add_association(_PROBE))
                one = Encryption(_PROBE.source, 4789, frozenset({1}))
                self._nftables.run(rules.exactly(self._tag, one), netns.fileno())
        finally:
            self._namespaces.remove(self._scratch)

    def look_again(self) -> None:
        """Read the kernel at the next `prepare`, where anything was made."""
        if self._made is not None and self._made.vnis:
            self._made = None

    def prepare(self, wanted: Encryption) -> None:
        """Add what is missing. Unguarded, ShoalError, OSError; may be repeated."""
        self._own.add(wanted.local)
        if not wanted.vnis:
            self.refused = {}
        if not wanted.vnis or wanted == self._made:
            return
        try:
            if not self._listing or wanted.vnis - self._guarded or self._listing != self._list():
                self._listing = ""
                self._nftables.run(rules.more(self._tag, wanted))
        except ShoalError as error:
            raise Unguarded(str(error)) from error
        self._made, self.refused = None, {}
        with NetlinkSocket(xfrm=True) as kernel:
            associations, policies = self._read(kernel)
            named = {(one.destination, one.spi) for one in wanted.associations}
            wrong = [one for one in associations - wanted.associations if (one.destination, one.spi) in named]
            _try(kernel, [xfrm.delete_association(one) for one in wrong], (errno.ESRCH,))
            missing = wanted.associations - (associations - set(wrong))
            own = wanted.local
            self._try_nodes(
                kernel,
                [
                    (one.source if one.destination == own else one.destination, xfrm.add_association(one))
                    for one in missing
                ],
                (errno.EEXIST,),
            )
            unset = wanted.policies - policies
            self._try_nodes(kernel, [(one.destination, xfrm.set_policy(one)) for one in unset], ())

    def _try_nodes(
        self, kernel: NetlinkSocket, requests: Sequence[tuple[Address, Request]], fine: tuple[int, ...]
    ) -> None:
        errors = kernel.try_all([request for _, request in requests])
        for (node, _), number in zip(requests, errors, strict=True):
            if number not in (0, *fine):
                self.refused[node] = number

    def finish(self, wanted: Encryption) -> None:
        """Remove what is too much. ShoalError, OSError; may be repeated."""
        self._own.add(wanted.local)
        if wanted == self._made:
            return
        if self._made is None and not wanted.vnis and not self._list():
            self._made = wanted
            return
        with NetlinkSocket(xfrm=True) as kernel:
            associations, policies = self._read(kernel)
            kept = {(one.destination, one.port) for one in wanted.policies}
            gone = [one for one in policies if one.source != wanted.local or (one.destination, one.port) not in kept]
            _try(kernel, [xfrm.delete_policy(one) for one in gone], (errno.ENOENT,))
            _try(kernel, [xfrm.delete_association(one) for one in associations - wanted.associations], (errno.ESRCH,))
        if not self._listing or wanted.vnis != self._guarded:
            self._nftables.run(rules.exactly(self._tag, wanted))
            self._listing, self._guarded = self._list(), wanted.vnis
        # What the kernel will never take is not tried each time: others may tell of any number.
        self._made = wanted if set(self.refused.values()) <= _NEVER else None

    def _read(self, kernel: NetlinkSocket) -> tuple[set[Association], set[Policy]]:
        associations = xfrm.associations(kernel.run(xfrm.list_associations()))
        policies = xfrm.policies(kernel.run(xfrm.list_policies()))
        return (
            {one for one in associations if self._own & {one.source, one.destination}},
            {one for one in policies if one.source in self._own},
        )

    def _list(self) -> str:
        try:
            return self._nftables.run(f"list table {rules.table(self._tag)}")
        except Refused:
            return ""  # there is none


def _try(kernel: NetlinkSocket, requests: Sequence[Request], fine: tuple[int, ...]) -> None:
    bad = [number for number in kernel.try_all(requests) if number not in (0, *fine)]
    if bad:
        raise ShoalError(f"the kernel refused {len(bad)} of {len(requests)} entries of IPsec: {os.strerror(bad[0])}")
