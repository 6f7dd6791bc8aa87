"""A netlink socket: requests out, answers in, errors as OSError. Blocking; one thread uses it.

A socket belongs for life to the network namespace in which it was opened, whatever its thread does later.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from shoal.errors import InvariantBroken, ShoalError
from shoal.network import rtnetlink
from shoal.network.rtnetlink import Reply, Request

_NETLINK_NETFILTER, _NETLINK_SOCK_DIAG = 12, 4  # socket has no names for these before Python 3.12
# The kernel answers a local request at once; longer means that something is very wrong.
TIMEOUT = 5.0
# The kernel never fills more than 32 KiB in one datagram (NLMSG_GOODSIZE, dumps).
RECEIVE_BYTES = 65536
# The kernel carries out all requests of one datagram before we read an answer, and drops answers beyond some 270.
BATCH = 64


class NetlinkSocket:
    """One netlink socket of the namespace that the calling thread is in."""

    def __init__(self, *, netfilter: bool = False, xfrm: bool = False, diagnosis: bool = False) -> None:
        """`netfilter`: speak with connection tracking instead; `xfrm`: with IPsec; `diagnosis`: of sockets."""
        family = _NETLINK_NETFILTER if netfilter else socket.NETLINK_XFRM if xfrm else socket.NETLINK_ROUTE
        if diagnosis:
            family = _NETLINK_SOCK_DIAG
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.settimeout(TIMEOUT)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close it; may be repeated."""
        self._socket.close()

    def run(self, *requests: Request, most: int | None = None) -> list[Reply]:
        """Send requests in one go and return what the kernel tells, acknowledgements left out.

        All are carried out, also after one that fails; then OSError with the first failure's errno. ShoalError where
        there are more than `most` messages: the socket is of no use then.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(b"".join(request.encode(first + at) for at, request in enumerate(requests)))
        waiting = set(range(first, first + len(requests)))
        told, failure = [], 0
        while waiting:
            for reply in self._receive():
                if reply.sequence not in waiting:
                    continue  # the rest of an answer that an earlier call gave up on
                if reply.type == rtnetlink.ERROR:
                    waiting.discard(reply.sequence)
                    failure = failure or reply.errno
                elif reply.type == rtnetlink.DONE:
                    waiting.discard(reply.sequence)
                else:
                    told.append(reply)
            if most is not None and len(told) > most:
                raise ShoalError(f"the kernel tells more than {most} things of a namespace")
        if failure:
            raise OSError(failure, os.strerror(failure))
        return told

    def stream(self, request: Request) -> Iterator[Reply]:
        """Send a request and yield what the kernel tells as it comes. Close the socket when it is not read to its end.

        OSError as in `run`.
        """
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(request.encode(sequence))
        while True:
            for reply in self._receive():
                if reply.sequence != sequence:
                    continue
                if reply.type == rtnetlink.DONE:
                    return
                if reply.type == rtnetlink.ERROR:
                    if reply.errno:
                        raise OSError(reply.errno, os.strerror(reply.errno))
                    return
                yield reply

    def try_all(self, requests: Sequence[Request]) -> list[int]:
        """Send any number of requests, and return the errno of each; 0: done."""
        errors: list[int] = []
        for at in range(0, len(requests), BATCH):
            errors += self._acknowledged(requests[at : at + BATCH])
        return errors

    def _acknowledged(self, requests: Sequence[Request]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(b"".join(request.encode(first + at) for at, request in enumerate(requests)))
        errors: dict[int, int] = {}
        while len(errors) < len(requests):
            for reply in self._receive():
                if reply.type == rtnetlink.ERROR and reply.sequence >= first:
                    errors[reply.sequence] = reply.errno
        return [errors[first + at] for at in range(len(requests))]

    def _receive(self) -> list[Reply]:
        try:
            return list(rtnetlink.split(self._socket.recv(RECEIVE_BYTES)))
        except TimeoutError as error:
            raise InvariantBroken("the kernel did not answer a netlink request") from error

    def link(self, name: str) -> rtnetlink.Link | None:
        """Return one link by its name."""
        try:
            found = rtnetlink.links(self.run(rtnetlink.get_link(name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return found[0] if found else None

    def delete_link(self, index: int) -> None:
        """Delete a link, which may be gone already. OSError."""
        try:
            self.run(rtnetlink.delete_link(index))
        except OSError as error:
            if error.errno != errno.ENODEV:  # the kernel was quicker
                raise
