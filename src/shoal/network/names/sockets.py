"""The sockets of 127.0.0.11, opened inside a network namespace and served from outside it.

A thread enters the namespace, opens two sockets and comes back, some 50 microseconds later; no other code may run on
that thread in between, which is why it is a thread of its own. A socket stays in the namespace it was opened in.
"""

import asyncio
import os
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import InvariantBroken
from shoal.host import linux
from shoal.network.names.resolvconf import SERVER

_CLONE_NEWNET = 0x40000000
# The same at each start where it is free: flows that the kernel has redirected find us again after a restart. It is one
# of those that the kernel gives out (RFC 6335), so that no program listens there by its own choice.
PORT = 53_011
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Listening:
    """The two sockets of a sandbox; neither blocks."""

    udp: socket.socket
    tcp: socket.socket

    @property
    def ports(self) -> tuple[int, int]:
        """UDP's and TCP's."""
        return self.udp.getsockname()[1], self.tcp.getsockname()[1]

    @property
    def descriptors(self) -> tuple[int, int]:
        """For a successor, which makes a `Listening` of them again."""
        return self.udp.fileno(), self.tcp.fileno()

    @classmethod
    def from_descriptors(cls, udp: int, tcp: int) -> "Listening":
        """Take over descriptors, which are ours from now on."""
        made = cls(socket.socket(fileno=udp), socket.socket(fileno=tcp))
        made.udp.setblocking(False)
        made.tcp.setblocking(False)
        return made

    def close(self) -> None:
        """Close both."""
        self.udp.close()
        self.tcp.close()


class Opener:
    """Opens sockets in other network namespaces, on a thread of its own."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._thread = ThreadPoolExecutor(1, "names")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
        os.close(self._home)

    async def open(self, netns: Path) -> Listening:
        """Listen in a namespace. OSError: there is none, or it has no loopback that is up."""
        opening = self._thread.submit(self.open_now, netns)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_drop)  # a thread cannot be stopped half-way
            raise

    def open_now(self, netns: Path) -> Listening:
        """The same, blocking: for a thread that is in the host's namespace and nobody else's."""
        with netns.open("rb") as namespace:
            linux.setns(namespace.fileno(), _CLONE_NEWNET)
        try:
            return _listen()
        finally:
            self._go_home()

    def _go_home(self) -> None:
        try:
            linux.setns(self._home, _CLONE_NEWNET)
        except OSError as error:
            # The next call on this thread would open its sockets in a container: stop here.
            raise InvariantBroken(f"cannot return to the host's network namespace: {error.strerror}") from error


def _drop(opening: Future[Listening]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _listen() -> Listening:
    udp = _bound(socket.SOCK_DGRAM)
    try:
        tcp = _bound(socket.SOCK_STREAM)
    except OSError:
        udp.close()
        raise
    try:
        tcp.listen(_BACKLOG)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return Listening(udp, tcp)


def _bound(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            # Connections of the former process may still be ending.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((SERVER, PORT))
        except OSError:  # taken, by whatever runs in there
            made.bind((SERVER, 0))
    except OSError:
        made.close()
        raise
    return made
