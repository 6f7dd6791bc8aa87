"""A connection to a manager that ends soon after the manager's host is gone.

Without it an agent learns of that from its next heartbeat, up to ten seconds later, and gets no assignment until then.
"""

import socket
from contextlib import suppress

from grpclib.client import Channel
from grpclib.protocol import H2Protocol

IDLE, INTERVAL, PROBES = 2, 1, 2  # seconds at rest until the kernel asks, and asks again; how often
SILENCE_MILLISECONDS = 3_000  # without a word from the other kernel. As managers have it for their nodes


class WatchedChannel(Channel):
    """A channel whose connection the kernel watches. A manager that is only slow keeps it: its kernel answers."""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        sock = protocol.connection._transport.get_extra_info("socket")
        with suppress(AttributeError):  # not every kernel that Python runs on has them all
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MILLISECONDS)
        return protocol
