"""A connection to a manager that ends within seconds when the manager's host is lost.

On a plain connection the agent would learn of the loss only from its next heartbeat, many seconds later, and would
get no assignments until then.
"""

import socket
from contextlib import suppress

from grpclib.client import Channel
from grpclib.protocol import H2Protocol

IDLE, INTERVAL, PROBES = 2, 1, 2  # seconds of rest before the first probe, seconds between probes, probes
SILENCE_MILLISECONDS = 3_000  # the connection ends after this silence; managers use the same limit for their nodes


class WatchedChannel(Channel):
    """A channel whose connection the kernel probes. A slow manager keeps its connection: its kernel answers."""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        sock = protocol.connection._transport.get_extra_info("socket")
        with suppress(AttributeError):  # some of these constants exist only on Linux
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MILLISECONDS)
        return protocol
