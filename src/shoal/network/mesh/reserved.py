"""Published ports as ports of this host: none is taken from who listens there, and no other program gets one later.

A port is held by a socket that is bound and never listens, so that whoever wants it is told that it is in use instead
of listening where nothing arrives. In: published ports; out: those that another program has. Blocking, for a moment.
"""

import errno
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from shoal.network.mesh.rules import PublishedPort

_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
# /proc/net's table, and what says there that one listens, or waits for datagrams of whomever (proc_net_tcp, include/
# net/tcp_states.h). What SCTP has is elsewhere: who has a port of it is taken for one who listens.
_TABLES = {"tcp": ("tcp", "0A"), "udp": ("udp", "07")}
# The kernel has no such protocol, so that nobody can listen.
_UNKNOWN = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
# The least that the kernel gives: nothing is ever read here.
_BUFFER = 1


def _listens(port: PublishedPort) -> bool:
    """Return whether a program listens on a port of this host."""
    if port[0] not in _TABLES:
        return True
    table, state = _TABLES[port[0]]
    wanted = f":{port[1]:04X}"
    for name in (table, f"{table}6"):
        path = Path("/proc/thread-self/net") / name
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == state:
                    return True
    return False


class ReservedPorts:
    """The ports that the mesh has on this host. To be used in the host's network namespace."""

    def __init__(self) -> None:
        self._held: dict[PublishedPort, socket.socket | None] = {}

    def take(self, ports: Collection[PublishedPort]) -> set[PublishedPort]:
        """Hold these ports too; return those that others have. OSError where it cannot be told."""
        return {port for port in ports if port not in self._held and not self._take(port)}

    def _take(self, port: PublishedPort) -> bool:
        kind, protocol = _KINDS[port[0]]
        try:
            held = socket.socket(socket.AF_INET, kind, protocol)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            self._held[port] = None
            return True
        try:
            if port[0] != "udp":
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            held.bind(("", port[1]))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError as error:
            held.close()
            if error.errno != errno.EADDRINUSE:
                raise
            # A connection that has ended a minute ago, or one that leads out, is in nobody's way.
            return not _listens(port)
        self._held[port] = held
        return True

    def release(self, keep: Collection[PublishedPort] = ()) -> None:
        """Give back all ports but these."""
        for port in [port for port in self._held if port not in keep]:
            held = self._held.pop(port)
            if held is not None:
                with suppress(OSError):  # closed all the same
                    held.close()
