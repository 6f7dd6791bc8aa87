"""Whether a program listens on IPv6, asked of the kernel's sock_diag one port at a time. Pure.

Which sockets a namespace has is a container's doing: a list of them could be as long as it likes, one answer is not.
Layouts and numbers: linux/sock_diag.h, linux/inet_diag.h.
"""

import struct
from collections.abc import Iterable
from ipaddress import IPv6Address

from shoal.network.rtnetlink import ACK, AF_INET6, Reply, Request
from shoal.network.wanted import Protocol

_BY_FAMILY = 20
_ASK = struct.Struct("=BBBxI")
_ENDS = struct.Struct(">HH16s16s")
_REST = struct.Struct("=III")
_ANSWER = struct.Struct("=BBBB")
_NUMBERS = {"tcp": 6, "udp": 17}
_LISTENS = 10  # TCP_LISTEN
_NO_COOKIE = 0xFFFFFFFF


def ask(protocol: Protocol, address: IPv6Address, port: int) -> Request | None:
    """Ask which socket gets what comes for a port of an address, from nobody in particular; None: it cannot be told.

    OSError with ENOENT is the answer where there is none.
    """
    if protocol not in _NUMBERS:
        return None
    body = _ASK.pack(AF_INET6, _NUMBERS[protocol], 0, 0xFFFFFFFF)
    # For UDP both ends are the other way round: net/ipv4/udp_diag.c, "for historical reasons".
    if protocol == "udp":
        body += _ENDS.pack(0, port, bytes(16), address.packed)
    else:
        body += _ENDS.pack(port, 0, address.packed, bytes(16))
    return Request(_BY_FAMILY, ACK, body + _REST.pack(0, _NO_COOKIE, _NO_COOKIE))


def listens(protocol: Protocol, replies: Iterable[Reply]) -> bool:
    """Read the answer."""
    for reply in replies:
        if reply.type == _BY_FAMILY and len(reply.body) >= _ANSWER.size:
            family, state, *_ = _ANSWER.unpack_from(reply.body)
            return family == AF_INET6 and (protocol != "tcp" or state == _LISTENS)
    return False
