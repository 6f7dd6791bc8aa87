"""Published ports as ports of this host."""

import errno
import socket

import pytest

from shoal.network.mesh.reserved import ReservedPorts
from shoal.network.mesh.rules import PublishedPort


def listener(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    made = socket.socket(type=kind)
    made.bind((host, 0))
    if kind is socket.SOCK_STREAM:
        made.listen()
    return made, made.getsockname()[1]


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_is_taken_from_nobody_and_nobody_gets_it_then(protocol: str, kind: socket.SocketKind) -> None:
    """Known faults 26 to 28."""
    ports = ReservedPorts()
    mine, number = listener(kind)
    port: PublishedPort = ("tcp" if protocol == "tcp" else "udp", number)
    assert ports.take([port]) == {port}
    mine.close()
    assert ports.take([port]) == set()
    assert ports.take([port]) == set()
    with socket.socket(type=kind) as late:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind is socket.SOCK_STREAM)
        with pytest.raises(OSError, match="in use") as caught:
            late.bind(("127.0.0.1", number))
    assert caught.value.errno == errno.EADDRINUSE
    ports.release(keep=[port])
    assert ports.take([port]) == set()
    ports.release()
    with socket.socket(type=kind) as late:
        late.bind(("", number))


def test_connections_that_have_ended_are_in_nobodys_way() -> None:
    mine, number = listener()
    with socket.create_connection(("127.0.0.1", number)):
        mine.accept()[0].close()  # and so it is this side that remembers it
    mine.close()
    ports = ReservedPorts()
    assert ports.take([("tcp", number)]) == set()
    ports.release()


def test_the_protocols_of_one_number_are_two_ports() -> None:
    mine, number = listener()
    ports = ReservedPorts()
    assert ports.take([("tcp", number), ("udp", number)]) == {("tcp", number)}
    ports.release()
    mine.close()
