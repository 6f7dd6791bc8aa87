"""Keeps other programs off a port of this host for as long as a socket is open, in whichever process.

As a program that listens is kept off by another: in: a protocol and a number; out: a socket, or the kernel's refusal.
The socket answers nothing. What comes for the port is redirected before it would get there; what comes while it is not
(somebody has just flushed the rules) is refused as if nobody listened.
"""

import ctypes
import errno
import socket
import struct

from shoal.network.wanted import Protocol

_SO_ATTACH_FILTER = 26
# One instruction of BPF: take nothing of any packet.
_TAKE_NOTHING = struct.Struct("=HBBI").pack(0x06, 0, 0, 0)
_SCTP = 132


def hold(protocol: Protocol, port: int) -> socket.socket | None:
    """Return a socket that holds a port on all IPv4 addresses; None where this kernel has no such sockets.

    OSError with EADDRINUSE where another program has it, on one address at least.
    """
    try:
        one = _open(protocol)
    except OSError as error:
        if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None  # nobody can listen there: the rules alone are enough
        raise
    try:
        if protocol == "udp":
            # What comes all the same is not kept.
            program = ctypes.create_string_buffer(_TAKE_NOTHING)
            one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
            one.bind(("0.0.0.0", port))
            return one
        # As any server: what is left of former connections (TIME_WAIT) is no hindrance, who listens is one.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("0.0.0.0", port))
        one.listen(1)
        # It stays bound and listens no more. From here on nobody binds beside it, whatever it allows.
        one.shutdown(socket.SHUT_RDWR)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        one.close()
        raise
    return one


def _open(protocol: Protocol) -> socket.socket:
    if protocol == "udp":
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    number = _SCTP if protocol == "sctp" else 0
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, number)
