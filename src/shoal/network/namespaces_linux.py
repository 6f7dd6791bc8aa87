"""Network namespaces as files: made, pinned by a bind mount, unpinned. Blocking; one thread of its own uses it.

A thread's namespace is switched for some 100 microseconds while a new one is made. No other code may run on that
thread in between, which is why it is a thread of its own and why nothing here waits.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from shoal.errors import InvariantBroken
from shoal.network.netlink_linux import NetlinkSocket

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2

# Python has os.unshare and os.setns from 3.12 on only, and no mount at all.
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, path: Path | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path) if path else None)


class Namespaces:
    """Makes and removes pinned network namespaces. Home is the one that the process is in."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget home; namespaces stay."""
        os.close(self._home)

    def create(self, path: Path) -> NetlinkSocket:
        """Make a namespace, pin it at `path`, and return a socket inside it, for the caller to close.

        Interfaces made in it have no IPv6; its loopback has, as in Docker's containers. A leftover at `path` is
        replaced. After an OSError nothing is left.
        """
        self.remove(path)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
            try:
                _checked(_libc.mount(b"/proc/thread-self/ns/net", bytes(path), None, _MS_BIND, None), path)
                with suppress(FileNotFoundError):  # a kernel without IPv6
                    _write("/proc/sys/net/ipv6/conf/default/disable_ipv6", b"1")
                return NetlinkSocket()
            finally:
                self._go_home()
        except OSError:
            self.remove(path)
            raise

    def remove(self, path: Path) -> None:
        """Unpin a namespace, which lives on while a process is in it. Nothing happens when there is none."""
        if self.pinned(path):
            _checked(_libc.umount2(bytes(path), _MNT_DETACH), path)
        path.unlink(missing_ok=True)

    def pinned(self, path: Path) -> bool:
        """Return whether a namespace is mounted there: after a reboot the bare file may be left."""
        try:
            return path.stat().st_dev != path.parent.stat().st_dev
        except FileNotFoundError:
            return False

    def _go_home(self) -> None:
        if _libc.setns(self._home, _CLONE_NEWNET) != 0:
            # The next caller on this thread would work in a container's namespace: stop here.
            raise InvariantBroken(f"cannot return to the host's network namespace: {os.strerror(ctypes.get_errno())}")


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
