"""An agent's connection is watched by the kernel."""

import asyncio
import socket

from shoal.agent.channel import WatchedChannel


async def test_kernel_ends_a_connection_whose_other_end_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts the connection by itself
        channel = WatchedChannel(*listener.getsockname())
        protocol = await channel._create_connection()
        transport = protocol.connection._transport
        try:
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
        finally:
            transport.abort()
            channel.close()
            await asyncio.sleep(0)  # time for the transport to close its socket
