"""The sockets of gossip."""

import socket

import pytest

from shoal.network.gossip.sockets import open_sockets


def test_both_have_the_port_to_themselves_and_what_comes_waits() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    udp, tcp = open_sockets("127.0.0.1", port)
    with udp, tcp:
        with pytest.raises(OSError, match="Address already in use"):
            open_sockets("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)) as early, socket.socket(type=socket.SOCK_DGRAM) as packet:
            early.sendall(b"first")
            packet.sendto(b"second", ("127.0.0.1", port))
            connection, _ = tcp.accept()
            with connection:
                assert connection.recv(64) == b"first"
            assert udp.recv(64) == b"second"
