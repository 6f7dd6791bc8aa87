"""What holds a port keeps others off it, and answers nobody: with real sockets."""

import errno
import socket
from collections.abc import Iterator

import pytest

from shoal.network.host_ports import holding
from shoal.network.host_ports.holding import hold
from shoal.network.wanted import Protocol

KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
OPTIONS = [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]


def plain(protocol: str) -> socket.socket:
    try:
        return socket.socket(socket.AF_INET, *KINDS[protocol])
    except OSError:
        if protocol != "sctp":
            raise
        pytest.skip("this kernel has no SCTP; script/test-vm runs this test")


def free(protocol: str) -> int:
    with plain(protocol) as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


@pytest.fixture(params=["tcp", "udp", "sctp"])
def held(request: pytest.FixtureRequest) -> Iterator[tuple[Protocol, int]]:
    port = free(request.param)
    one = hold(request.param, port)
    assert one is not None
    with one:
        yield request.param, port


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("options", OPTIONS)
def test_nobody_binds_beside_it_whatever_it_allows(
    held: tuple[Protocol, int], address: str, options: tuple[int, ...]
) -> None:
    protocol, port = held
    with plain(protocol) as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        with pytest.raises(OSError, match="in use") as refused:
            other.bind((address, port))
    assert refused.value.errno == errno.EADDRINUSE


def test_it_answers_nobody() -> None:
    port = free("tcp")
    one = hold("tcp", port)
    assert one is not None
    with one, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_it_keeps_no_packet() -> None:
    port = free("udp")
    one = hold("udp", port)
    assert one is not None
    with one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))
        one.setblocking(False)
        with pytest.raises(BlockingIOError):  # on the loopback, a packet is there as soon as it was sent
            one.recv(1)


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_who_has_it_keeps_it(protocol: Protocol) -> None:
    with plain(protocol) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        if protocol != "udp":
            other.listen()
        with pytest.raises(OSError, match="in use"):
            hold(protocol, other.getsockname()[1])


def test_what_is_left_of_a_former_connection_is_no_hindrance() -> None:
    with socket.create_server(("127.0.0.1", 0)) as former:
        port = former.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            former.accept()[0].close()  # first: its side is in TIME_WAIT then
            assert client.recv(1) == b""
    again = hold("tcp", port)
    assert again is not None
    again.close()


def test_the_port_is_free_once_all_have_closed_it() -> None:
    port = free("tcp")
    one = hold("tcp", port)
    assert one is not None
    heir = one.dup()
    one.close()
    with pytest.raises(OSError, match="in use"):
        hold("tcp", port)
    heir.close()
    again = hold("tcp", port)
    assert again is not None
    again.close()


def test_a_kernel_without_sctp_has_nobody_to_keep_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(protocol: str, family: int) -> socket.socket:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(holding, "_open", no_socket)
    assert hold("sctp", 80) is None
    with pytest.raises(OSError, match="not supported"):
        hold("tcp", 80)
