"""Notices when somebody else changes this host's packet rules, and has ours mended.

In: the kernel's notices about nftables, of which most are about other programs' tables; out: calls of `mend`. Waiting
costs nothing. Our own changes are noticed like any other: `mend` finds then that all is as it should be.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Collection

from shoal.errors import ShoalError
from shoal.network import nft_messages, rtnetlink

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12  # socket has no name for it before Python 3.12
_RECEIVE_BYTES = 65536
# Who reloads a firewall removes its rules and adds them again: they are looked at once after both.
SETTLE = 0.2
# After a failure; the next notice may come long after.
FIRST_RETRY, LAST_RETRY = 1.0, 30.0


class Guard:
    """Watches tables by their names; which there are may change meanwhile."""

    def __init__(self, tables: Collection[str], mend: Callable[[], Awaitable[None]]) -> None:
        self._tables = tables
        self._mend = mend
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Have them mended until cancelled."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as notices:
            notices.setblocking(False)
            notices.bind((0, 1 << (nft_messages.GROUP - 1)))
            loop.add_reader(notices.fileno(), self._read, notices)
            try:
                await self._look()
            finally:
                loop.remove_reader(notices.fileno())

    async def _look(self) -> None:
        retry = FIRST_RETRY
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            try:
                await self._mend()
                retry = FIRST_RETRY
            except (ShoalError, OSError) as error:
                log.error("packet rules of this host's bridges cannot be mended now: %s", error)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)
                self._changed.set()

    def _read(self, notices: socket.socket) -> None:
        try:
            data = notices.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._changed.set()  # so many that some were lost
            return
        if any(name in self._tables for name in nft_messages.changed_tables(rtnetlink.split(data))):
            self._changed.set()
