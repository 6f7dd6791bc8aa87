"""The two sockets of gossip. From when they are open, what others send waits until somebody reads it."""

import socket

BACKLOG = 64  # connections that the kernel keeps for us
BUFFER = 1 << 20  # bytes of datagrams that the kernel keeps for us, where it lets us


def open_sockets(bind: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return the sockets of UDP and TCP, bound and listening. OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        for sock in (udp, tcp):
            if bind == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((bind, port))
        tcp.listen(BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp, tcp
