"""Published ports as ports of this host."""

import errno
import socket

import pytest

from shoal.network.host_ports.holding import hold
from shoal.network.mesh.reserved import WAIT_FOR_RESTART, ReservedPorts
from shoal.network.mesh.rules import PublishedPort
from shoal.network.wanted import Protocol


def listener(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    made = socket.socket(type=kind)
    made.bind((host, 0))
    if kind is socket.SOCK_STREAM:
        made.listen()
    return made, made.getsockname()[1]


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_is_taken_from_nobody_and_nobody_gets_it_then(protocol: str, kind: socket.SocketKind) -> None:
    """Known faults 26 to 28."""
    now = [100.0]
    ports = ReservedPorts(lambda: now[0])
    mine, number = listener(kind)
    port: PublishedPort = ("tcp" if protocol == "tcp" else "udp", number)
    assert ports.take([port]) == {port}
    now[0] += WAIT_FOR_RESTART
    assert ports.take([port]) == {port}
    mine.close()
    now[0] += WAIT_FOR_RESTART / 2
    assert ports.take([port]) == {port}  # it may be started again
    with socket.socket(type=kind) as again:
        again.bind(("127.0.0.1", number))
    now[0] += WAIT_FOR_RESTART / 2
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


def test_a_connection_that_leads_out_is_in_nobodys_way() -> None:
    mine, number = listener()
    with mine, socket.create_connection(("127.0.0.1", number)) as out:
        ports = ReservedPorts()
        assert ports.take([("tcp", out.getsockname()[1])]) == set()
        ports.release()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_leads_to_one_container_alone_is_not_taken_from_it(protocol: Protocol) -> None:
    spare, number = listener()
    spare.close()
    with hold(protocol, number) or spare:
        assert ReservedPorts().take([(protocol, number)]) == {(protocol, number)}


def test_the_protocols_of_one_number_are_two_ports() -> None:
    mine, number = listener()
    ports = ReservedPorts()
    assert ports.take([("tcp", number), ("udp", number)]) == {("tcp", number)}
    ports.release()
    mine.close()
