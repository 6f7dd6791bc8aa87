"""What a place asks of the kernel where that does not answer as it should. The rest is shown by a real kernel:
cluster/test_overlays."""

import errno
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest

from shoal.errors import ShoalError
from shoal.network.kernel import plan
from shoal.network.kernel.state import Seen
from shoal.network.kernel.workplace import RefusedPeers, Workplace
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Link, Request


class Absent:
    """No namespace is pinned."""

    def pinned(self, path: Path) -> bool:
        return False


class Socket:
    """Knows one VXLAN device, and answers each request with what it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.asked: list[Request] = []
        self.bridge = ""  # its MAC

    def link(self, name: str) -> Link | None:
        if name == "br4097" and self.bridge:
            return Link(2, name, True, 0, mac=self.bridge)
        return Link(3, name, True, 2) if name == "vx4097" else None

    def try_all(self, requests: list[Request]) -> list[int]:
        self.asked += requests
        return [self.answers.pop(0) if self.answers else 0 for _ in requests]

    def close(self) -> None:
        pass


def place(socket: Socket) -> Workplace:
    made = Workplace(Path("/none"), "t1", cast(Namespaces, Absent()), cast(NetlinkSocket, socket))
    made._socket = cast(NetlinkSocket, socket)
    return made


def test_where_no_namespace_is_nothing_is_seen() -> None:
    assert place(Socket()).observe() == Seen()


def test_peers_that_the_kernel_refuses_are_told_and_all_others_are_set() -> None:
    socket = Socket()
    socket.answers = [0, errno.ENOSPC, errno.EINVAL]
    step = plan.SetPeers(
        ((4097, ip_address("10.0.1.5"), "02:42:0a:00:01:05"),), ((4097, "02:42:0a:00:01:05", ip_address("192.0.2.2")),)
    )
    with pytest.raises(RefusedPeers, match="the kernel refused 1 entries of other nodes") as raised:
        place(socket).carry_out(step)
    assert raised.value.refused == {(4097, "02:42:0a:00:01:05"): errno.ENOSPC}
    assert len(socket.asked) == 3


def test_nobody_elsewhere_has_the_mac_of_the_gateway_here() -> None:
    """The kernel would lead what is for it to another node."""
    socket = Socket()
    socket.bridge = "ba:66:fb:d4:a6:55"
    step = plan.SetPeers((), ((4097, socket.bridge, ip_address("192.0.2.2")),))
    with pytest.raises(RefusedPeers):
        place(socket).carry_out(step)
    assert socket.asked == []


def test_peers_that_are_gone_already_are_no_failure() -> None:
    socket = Socket()
    socket.answers = [errno.ENOENT, errno.ENOENT, errno.ENODEV]
    place(socket).carry_out(plan.DropPeers(((4097, ip_address("10.0.1.5")),), ((4097, "02:42:0a:00:01:05"),)))
    assert len(socket.asked) == 3


def test_a_bridge_that_is_gone_is_named() -> None:
    with pytest.raises(ShoalError, match="the interface br4097 is gone"):
        place(Socket())._index("br4097")
