"""How often the packet rules of a network namespace have changed, by whomever: the kernel counts. Messages as bytes.

As long as the number is the same, nobody has touched any rule, and none need be listed. Source: linux/netfilter/
nf_tables.h (NFT_MSG_GETGEN).
"""

import struct
from collections.abc import Iterable

from shoal.errors import InvariantBroken
from shoal.network.rtnetlink import ACK, Reply, Request, attributes

_NEW, _GET = (10 << 8) | 15, (10 << 8) | 16
_HEADER = struct.Struct("=BBH")
_ID = 1


def get() -> Request:
    """Ask for the number."""
    return Request(_GET, ACK, _HEADER.pack(0, 0, 0))


def number(replies: Iterable[Reply]) -> int:
    """Read the answer."""
    for reply in replies:
        if reply.type == _NEW:
            return int.from_bytes(attributes(reply.body[_HEADER.size :])[_ID], "big")
    raise InvariantBroken("the kernel does not say how often its packet rules have changed")
