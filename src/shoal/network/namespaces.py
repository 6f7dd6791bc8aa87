"""Network namespaces as files: made, pinned by a bind mount, unpinned. Blocking; one thread of its own uses it.

A thread's namespace is switched for some 100 microseconds while a new one is made. No other code may run on that
thread in between, which is why it is a thread of its own and why nothing here waits.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from shoal.errors import InvariantBroken
from shoal.host import linux
from shoal.network.netlink import NetlinkSocket

_CLONE_NEWNET = 0x40000000
# An interface's IPv4 address (netdevice(7)): its name in, a sockaddr_in behind it out.
_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("=16s24s")
_ADDRESS = slice(20, 24)


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
            linux.unshare(_CLONE_NEWNET)
            try:
                linux.mount("/proc/thread-self/ns/net", str(path), flags=linux.MS_BIND)
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
            linux.umount(str(path), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
        path.unlink(missing_ok=True)

    def pinned(self, path: Path) -> bool:
        """Return whether a namespace is mounted there: after a reboot the bare file may be left."""
        try:
            return path.stat().st_dev != path.parent.stat().st_dev
        except FileNotFoundError:
            return False

    def in_use(self, paths: Iterable[Path]) -> set[Path]:
        """Return those whose namespace some process of the host is in."""
        pinned = {path.stat().st_ino: path for path in paths if self.pinned(path)}
        return {pinned[inode] for inode in _inhabited() if inode in pinned} if pinned else set()

    @contextmanager
    def inside(self, netns: int) -> Iterator[None]:
        """Be in the namespace of an open file meanwhile. Sockets that are opened there stay there."""
        linux.setns(netns, _CLONE_NEWNET)
        try:
            yield
        finally:
            self._go_home()

    def addresses(self, path: Path) -> list[IPv4Address]:
        """Return the addresses of all interfaces in a namespace, one each."""
        with path.open("rb") as netns, self.inside(netns.fileno()):
            inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            names = [name for _, name in socket.if_nameindex()]
        found = []
        with inside:
            for name in names:
                with suppress(OSError):  # it has no address
                    answer = fcntl.ioctl(inside.fileno(), _SIOCGIFADDR, _IFREQ.pack(name.encode(), b""))
                    found.append(IPv4Address(answer[_ADDRESS]))
        return found

    def _go_home(self) -> None:
        try:
            linux.setns(self._home, _CLONE_NEWNET)
        except OSError as error:
            # The next caller on this thread would work in a container's namespace: stop here.
            raise InvariantBroken(f"cannot return to the host's network namespace: {error.strerror}") from error


def _inhabited() -> Iterator[int]:
    """Yield the inode of each process's network namespace."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it ended meanwhile
                yield os.stat(f"/proc/{entry.name}/ns/net").st_ino


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(descriptor, data) != len(data):  # the rest alone would be another value
            raise OSError(errno.EIO, "was written in part", path)
    finally:
        os.close(descriptor)
