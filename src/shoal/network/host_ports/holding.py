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
    return _hold(protocol, port, socket.AF_INET)


def hold6(protocol: Protocol, port: int) -> socket.socket | None:
    """Return a socket that holds a port on all IPv6 addresses; otherwise as `hold`."""
    return _hold(protocol, port, socket.AF_INET6)


def hold_both(protocol: Protocol, port: int) -> list[socket.socket]:
    """Return what holds a port on all addresses of both kinds: one socket each, where this kernel has such sockets.

    OSError as `hold`, with the addresses for its file name where they are those of IPv6.
    """
    first = hold(protocol, port)
    try:
        second = hold6(protocol, port)
    except OSError as error:
        if first is not None:
            first.close()
        raise OSError(error.errno, error.strerror, "[::]") from error
    return [one for one in (first, second) if one is not None]


def _hold(protocol: Protocol, port: int, family: socket.AddressFamily) -> socket.socket | None:
    try:
        one = _open(protocol, family)
    except OSError as error:
        if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None  # nobody can listen there: the rules alone are enough
        if family == socket.AF_INET6 and error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "udp":
            # What comes all the same is not kept.
            program = ctypes.create_string_buffer(_TAKE_NOTHING)
            one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
            one.bind(("", port))
            return one
        # As any server: what is left of former connections (TIME_WAIT) is no hindrance, who listens is one.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", port))
        one.listen(1)
        # It stays bound and listens no more. From here on nobody binds beside it, whatever it allows.
        if protocol == "sctp":
            # A queue of none ends listening, as `shutdown` cannot here, and what it allows by then is what counts for
            # others (sctp_inet_listen in net/sctp/socket.c).
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            one.listen(0)
        else:
            one.shutdown(socket.SHUT_RDWR)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        one.close()
        raise
    return one


def _open(protocol: Protocol, family: socket.AddressFamily) -> socket.socket:
    if protocol == "udp":
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    number = _SCTP if protocol == "sctp" else 0
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, number)
