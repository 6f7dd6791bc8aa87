"""What holds ports is closed, and handed on before."""

from shoal.network.host_ports.held import Held
from shoal.network.types import HostPort


class Socket:
    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = 0

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        self.closed += 1


def test_all_is_closed_when_it_is_left() -> None:
    sockets = [Socket(5), Socket(7)]
    port = HostPort("tcp", 80, 8080)
    with Held([port], sockets) as held:
        assert (held.ports, held.descriptors) == ((port,), (5, 7))
        assert not any(one.closed for one in sockets)
    held.close()
    assert [one.closed for one in sockets] == [2, 2]  # as sockets allow


def test_nothing_is_held_where_nothing_was_asked_for() -> None:
    with Held() as held:
        assert (held.ports, held.descriptors) == ((), ())
