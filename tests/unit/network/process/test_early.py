"""Gossip's port before there is a process."""

import os
import socket

from shoal.network.gossip.messages import DEFAULT_PORT
from shoal.network.process.early import TCP, UDP, EarlyPort

# The port is one for all: tests that run at the same time have loopback addresses of their own.
NET = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}"


def test_it_is_open_until_it_is_closed_and_moves_with_the_address() -> None:
    early = EarlyPort()
    assert early.descriptors() == {}
    early.open(f"{NET}.111")
    first = early.descriptors()
    assert first.keys() == {UDP, TCP}
    early.open(f"{NET}.111")
    assert early.descriptors() == first
    early.open(f"{NET}.112")
    with socket.create_connection((f"{NET}.112", DEFAULT_PORT)), socket.socket() as former:
        assert former.connect_ex((f"{NET}.111", DEFAULT_PORT)) != 0
    early.close()
    early.close()
    assert early.descriptors() == {}


def test_where_the_port_is_taken_nothing_is_open() -> None:
    early = EarlyPort()
    with socket.create_server((f"{NET}.113", DEFAULT_PORT)):
        early.open(f"{NET}.113")
        assert early.descriptors() == {}
    early.open(f"{NET}.113")
    assert early.descriptors() != {}
    early.close()
