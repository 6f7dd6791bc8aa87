"""When rules are looked at again. That the kernel gives notice is shown by cluster/test_host_ports."""

import asyncio
import errno
import socket
import struct
from typing import Any, cast

import pytest

from shoal.errors import ShoalError
from shoal.network import guard
from shoal.network.guard import Guard
from shoal.network.rtnetlink import attribute


def notice(table: bytes) -> bytes:
    body = struct.pack("=BBH", 2, 0, 0) + attribute(1, table + b"\0")
    return struct.pack("=IHHII", 16 + len(body), (10 << 8) | 2, 0, 0, 0) + body


class Notices:
    """A socket that has these datagrams, or errors."""

    def __init__(self, *told: bytes | OSError) -> None:
        self.told = list(told)

    def recv(self, size: int) -> bytes:
        if not self.told:
            raise BlockingIOError
        first = self.told.pop(0)
        if isinstance(first, OSError):
            raise first
        return first


class Mender:
    """Fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls = 0
        self.called = asyncio.Event()

    async def __call__(self) -> None:
        self.calls += 1
        self.called.set()
        if self.calls <= self.failures:
            raise ShoalError("nft refused")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE", "FIRST_RETRY", "LAST_RETRY"):
        monkeypatch.setattr(guard, name, 0.001)


def read(watching: Guard, *told: bytes | OSError) -> None:
    notices = Notices(*told)
    while notices.told:
        watching._read(cast(socket.socket, cast(Any, notices)))


@pytest.mark.parametrize(
    ("told", "looks"),
    [
        (notice(b"shoal_a"), True),
        (notice(b"shoal_b"), False),
        (OSError(errno.ENOBUFS, "No buffer space available"), True),
    ],
)
async def test_only_notices_about_our_tables_count_and_those_that_were_lost(told: bytes | OSError, looks: bool) -> None:
    watching = Guard(["shoal_a", "shoal_a_ports"], Mender())
    read(watching, told)
    assert watching._changed.is_set() == looks


async def test_many_notices_are_one_look() -> None:
    mend = Mender()
    watching = Guard(["shoal_a"], mend)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watching._look())
        read(watching, notice(b"shoal_a"), notice(b"shoal_b"), notice(b"shoal_a"))
        await mend.called.wait()
        assert not watching._changed.is_set()
        child.cancel()
    assert mend.calls == 1


async def test_what_cannot_be_mended_is_tried_again() -> None:
    mend = Mender(failures=2)
    watching = Guard(["shoal_a"], mend)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watching._look())
        read(watching, notice(b"shoal_a"))
        while mend.calls < 3:
            mend.called.clear()
            await mend.called.wait()
        child.cancel()
    assert mend.calls == 3


async def test_other_errors_of_the_socket_are_not_swallowed() -> None:
    with pytest.raises(OSError, match="bad"):
        read(Guard(["shoal_a"], Mender()), OSError(errno.EBADF, "bad"))
