"""Ends flows of the kernel's connection tracking: lists them once, however many are to end, and ends each by its tuple.

Blocking. Nothing is ended that a list did not show and `flows` did not look at.
"""

import errno
import os
from collections.abc import Callable, Iterable

from shoal.errors import ShoalError
from shoal.network.balancing import flows
from shoal.network.balancing.flows import Endings, Flow
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Request

# A list is no moment's: a table that grows meanwhile may hide some.
_LOOKS = 3
_GONE = (errno.ENOENT, errno.ESRCH)


def end(conntrack: NetlinkSocket, endings: Endings) -> int:
    """End these flows, and return how many there were. ShoalError, OSError; may be repeated."""
    return end_chosen(conntrack, endings.lists(), endings.names) if endings else 0


def end_chosen(conntrack: NetlinkSocket, lists: Iterable[Request], chosen: Callable[[Flow], bool]) -> int:
    """End the flows in these lists that are chosen. As `end`."""
    ended, lists = 0, list(lists)
    for _ in range(_LOOKS):
        requests = list(dict.fromkeys(request for one in lists for request in _chosen(conntrack, one, chosen)))
        if not requests:
            break
        errors = conntrack.try_all(requests)
        if bad := [number for number in errors if number and number not in _GONE]:
            raise ShoalError(f"{len(bad)} of {len(requests)} connections cannot be ended: {os.strerror(bad[0])}")
        ended += sum(not number for number in errors)
    return ended


def _chosen(conntrack: NetlinkSocket, asked: Request, chosen: Callable[[Flow], bool]) -> Iterable[Request]:
    for reply in conntrack.stream(asked):
        found = flows.flow(reply)
        if found is not None and chosen(found):
            yield flows.delete(found)
