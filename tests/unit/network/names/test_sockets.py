"""Sockets in the namespace that one is in; in others, tests/interop/test_names.py shows them."""

import asyncio
import socket
import threading
from pathlib import Path

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


async def test_a_caller_that_no_longer_waits_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    going, made = threading.Event(), sockets.Opener()
    opened: list[Listening] = []

    def slow(netns: Path) -> Listening:
        assert going.wait(60)
        opened.append(sockets._listen())
        return opened[0]

    monkeypatch.setattr(made, "open_now", slow)
    monkeypatch.setattr(sockets, "PORT", 0)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(made.open(Path("/nowhere")))
        await asyncio.sleep(0)
        child.cancel()
    going.set()
    made.close()  # waits for the thread
    assert opened[0].udp.fileno() == opened[0].tcp.fileno() == -1
