"""Published ports as ports of this host: none is taken from who listens there, and no other program gets one later.

A port is held by a socket that is bound and never listens. So a program that wants the port is told that it is in use;
otherwise it would listen where nothing arrives.

In: published ports; out: those that another program has. Blocking, for a moment.
"""

import errno
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from shoal.network.host_ports.holding import hold_both
from shoal.network.mesh.rules import PublishedPort

# /proc/net's table, and what says there that one listens, or waits for datagrams of whomever (proc_net_tcp, include/
# net/tcp_states.h). What SCTP has is elsewhere: who has a port of it is taken for one who listens.
_TABLES = {"tcp": ("tcp", "0A"), "udp": ("udp", "07")}
# A program that is only started again gets its port back.
WAIT_FOR_RESTART = 5.0  # seconds


def _is_anothers(port: PublishedPort) -> bool:
    """Return whether another program has a port of this host, which cannot be bound.

    A connection that has ended a minute ago, or one that leads out, is in nobody's way. Who has it without listening
    and without a connection holds it for a purpose, as that which leads a host's port to a container does.
    """
    if port[0] not in _TABLES:
        return True
    table, state = _TABLES[port[0]]
    wanted = f":{port[1]:04X}"
    states = set()
    for name in (table, f"{table}6"):
        path = Path("/proc/thread-self/net") / name
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted):
                    states.add(fields[3])
    return state in states or not states


class ReservedPorts:
    """The ports that the mesh has on this host. To be used in the host's network namespace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[PublishedPort, list[socket.socket]] = {}
        self._free_at: dict[PublishedPort, float] = {}  # of those that others had: when they are taken for free

    def take(self, ports: Collection[PublishedPort]) -> set[PublishedPort]:
        """Hold these ports too; return those that others have, or had a moment ago. OSError where it cannot be told."""
        return {port for port in ports if port not in self._held and not self._have(port)}

    def _have(self, port: PublishedPort) -> bool:
        now = self._clock()
        if not self._take(port):
            self._free_at[port] = now + WAIT_FOR_RESTART
            return False
        if self._free_at.get(port, now) > now:
            self._give_back(port)
            return False
        self._free_at.pop(port, None)
        return True

    def _take(self, port: PublishedPort) -> bool:
        try:
            self._held[port] = hold_both(*port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return not _is_anothers(port)
        return True

    def release(self, keep: Collection[PublishedPort] = ()) -> None:
        """Give back all ports but these."""
        for port in [port for port in self._held if port not in keep]:
            self._give_back(port)

    def _give_back(self, port: PublishedPort) -> None:
        for held in self._held.pop(port, ()):
            with suppress(OSError):  # closed all the same
                held.close()
