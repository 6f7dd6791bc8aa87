"""Gossip's port, open before the network process is there to serve it.

A Docker Engine that joins calls this node once, and then not for a minute: what it sends waits in the sockets until the
process, which is given them when it is started, reads it.
"""

import logging
import socket

from shoal.network.gossip.messages import DEFAULT_PORT
from shoal.network.gossip.sockets import open_sockets

log = logging.getLogger(__name__)

# Names of the descriptors, as the network process knows them.
UDP, TCP = "gossip udp", "gossip tcp"


class EarlyPort:
    """The sockets, while they are open here."""

    def __init__(self) -> None:
        self._bind = ""
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def open(self, bind: str) -> None:
        """Open the port of an address; again: nothing. Where it is taken, the process says so, or has it."""
        if bind == self._bind and self._sockets is not None:
            return
        self.close()
        try:
            self._bind, self._sockets = bind, open_sockets(bind, DEFAULT_PORT)
        except OSError as error:
            log.debug("the port of gossip is not opened early: %s", error)

    def descriptors(self) -> dict[str, int]:
        """Return what the process is to be given, by name."""
        if self._sockets is None:
            return {}
        udp, tcp = self._sockets
        return {UDP: udp.fileno(), TCP: tcp.fileno()}

    def close(self) -> None:
        """Leave them to whoever has them open as well; what nobody has is closed to others. May be repeated."""
        sockets, self._sockets = self._sockets, None
        for sock in sockets or ():
            sock.close()
