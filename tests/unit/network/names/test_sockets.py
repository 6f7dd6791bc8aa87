"""Sockets in the namespace that one is in; in others, tests/interop/test_names.py shows them."""

import socket

import pytest

from shoal.network.names import sockets
from shoal.network.names.resolvconf import SERVER
from shoal.network.names.sockets import Listening


def test_a_port_that_is_taken_is_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((SERVER, 0))
        monkeypatch.setattr(sockets, "PORT", taken.getsockname()[1])
        made = sockets._listen()
        assert made.ports[0] != sockets.PORT
        assert made.ports[1] == sockets.PORT
        made.close()


def test_a_successor_takes_over_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PORT", 0)
    made = sockets._listen()
    ports = made.ports
    assert made.descriptors == (made.udp.fileno(), made.tcp.fileno())
    taken = Listening.from_descriptors(made.udp.detach(), made.tcp.detach())
    assert taken.ports == ports
    assert not taken.udp.getblocking()
    with socket.create_connection((SERVER, ports[1])):
        pass
    taken.close()
