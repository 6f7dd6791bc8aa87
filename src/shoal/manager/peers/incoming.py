"""Takes connections of other managers' etcds from port 2377 to the socket of our own etcd.

etcd's peers only use unix sockets; shoald carries their bytes over mutual TLS (decision 7). In: connections of port
2377 whose peer chose the protocol `shoal-raft`. Out: bytes to and from our etcd. Only managers that are members of
etcd's cluster now are let in, and only with requests in their own name (`requests`). Bytes pass from one connection to
the other without a child or a queue; a side that does not read stops the other one. When one side ends, the other one
ends after it has sent what was received: asyncio's TLS cannot be half closed, and etcd's HTTP does not need that.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from shoal.ca.identity import MANAGER_OU
from shoal.errors import PermissionDenied, Unavailable
from shoal.manager.peers.requests import Requests, gone, last_question
from shoal.manager.port.authorization import Peer, Subject, judge, subject_of
from shoal.store import peer_port
from shoal.store.peer_port import short_path

log = logging.getLogger(__name__)

# The bytes that wait on one side for the other to read; one more read of the loop (256 KiB) may be added.
BUFFER_BYTES = 256 * 1024
# etcd holds two streams, opens up to four connections at once for messages, and some more while it retries.
CONNECTIONS_PER_PEER = 64
# A manager that says nothing for so long is taken for dead: etcd's followers and leader talk every 100 ms.
SILENCE = 1.0
SOCKET_TIMEOUT = 1.0  # seconds; our own etcd accepts at once, or does not run
# Seconds between two questions to our etcd, also if a removed manager connects again and again.
LOOK_PAUSE = 0.02
FIRST_WORDS_TIMEOUT = 1.0  # seconds for a manager that is not let in to send its first request
REMOVED_STATUS = 410  # etcd's answer to a member that was removed


class Relay(asyncio.Protocol):
    """One end of a tunnel. What it receives is written to the other end."""

    def __init__(self, closed: "Callable[[Relay], None]", heard: Callable[[], None] | None = None) -> None:
        self._closed = closed
        self._heard = heard
        self._other: Relay | None = None
        self._early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without reading, because there is no other end yet."""
        # uvloop's transports are not asyncio.Transport by class.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        transport.pause_reading()

    def join(self, other: "Relay") -> None:
        """Let bytes pass between two ends. If one has ended already, the other ends too."""
        self._other, other._other = other, self
        for end in (self, other):
            if end.transport is None or end.transport.is_closing():
                self.close()
                other.close()
                return
        for end in (self, other):
            end.read(reading=True)
            early, end._early = end._early, b""
            if early:
                end.data_received(early)

    def read(self, *, reading: bool) -> None:
        """Begin or stop to read from the peer."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Write the bytes to the other end."""
        if self._heard is not None:
            self._heard()
        other = self._other
        if other is None:
            self.hold(data)
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def hold(self, data: bytes) -> None:
        """Keep bytes that came before there was another end."""
        # asyncio (3.11) may begin to read although `connection_made` paused it, while it believes to be paused. It only
        # pauses after a resume. So one read is possible, and no more.
        self._early += data
        self.read(reading=True)
        self.read(reading=False)

    def pause_writing(self) -> None:
        """Stop reading from the other end, because this end's peer does not read."""
        if self._other is not None:
            self._other.read(reading=False)

    def resume_writing(self) -> None:
        """Read from the other end again."""
        if self._other is not None:
            self._other.read(reading=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Close the other end too, after it has sent its data."""
        self.transport = None
        self._closed(self)
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """Send the waiting data, and close."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        # asyncio's TLS transport (3.11) cannot be aborted once it is closing; its own timeout ends it.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()


class _Guest(Relay):
    """The end to another manager. Its requests to our etcd are checked before they pass."""

    def __init__(self, closed: Callable[[Relay], None], node_id: str, heard: Callable[[str], None]) -> None:
        super().__init__(closed, lambda: heard(node_id))
        self.node_id = node_id
        self.member_id = 0  # in etcd's cluster; set when it is let in
        self.spoke = asyncio.Event()
        self.refused: Callable[[str, PermissionDenied], None] = lambda node_id, refusal: None
        self._requests: Requests | None = None

    def admit(self, member_id: int, own_id: int | None, other: Relay) -> None:
        """Join this end to our etcd, and let requests of this member pass."""
        self.member_id, self._requests = member_id, Requests(self.node_id, member_id, own_id)
        self.join(other)

    async def first_words(self) -> bytes:
        """Return the first bytes of a manager that is not let in. Raises TimeoutError."""
        self.read(reading=True)
        async with asyncio.timeout(FIRST_WORDS_TIMEOUT):
            await self.spoke.wait()
        return self._early

    def answer(self, data: bytes) -> None:
        """Send an answer, and close."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)
            self.close()

    def data_received(self, data: bytes) -> None:
        """Pass on requests that are allowed. Close both ends at one that is not."""
        if self._requests is None:
            self.hold(data)
            self.spoke.set()
            return
        try:
            data = self._requests.feed(data)
        except PermissionDenied as refusal:
            self.refused(self.node_id, refusal)
            self.abort()
            return
        super().data_received(data)


class PeerGate:
    """Lets other managers' etcds connect to ours, whose socket is `etcd`. Works while `run` runs.

    Managers are let in if their certificates were not blacklisted (`is_removed`) and their nodes are members of etcd's
    cluster. Our own etcd is asked for the members at each new connection and by `look`; connections of others end.
    `heard` is called with a manager's node id whenever bytes come from it.
    """

    def __init__(
        self,
        etcd: Path,
        cluster_id: str,
        *,
        is_removed: Callable[[str], bool],
        heard: Callable[[str], None] = lambda node_id: None,
    ) -> None:
        self._etcd = etcd
        self._own_node = etcd.name.partition(":")[0]  # <node id>:1
        self._cluster_id = cluster_id
        self._is_removed = is_removed
        self._heard = heard
        self._group: asyncio.TaskGroup | None = None
        self._ends: dict[_Guest, str] = {}
        self._held: Counter[str] = Counter()
        self._members: Mapping[str, int] | None = None  # None while our etcd does not answer
        self._look = asyncio.Event()
        self._answered = asyncio.Event()  # set after the next look; each look has its own event
        self._refusals = 0

    async def run(self) -> None:
        """Let managers in until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    await self._follow_members()
                finally:
                    self._group = None  # who comes while its children end is sent away
        finally:
            for end in list(self._ends):
                end.abort()

    def look(self) -> None:
        """Ask our etcd for its members again, and end the connections of managers that are no members."""
        self._look.set()

    def accept(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Return the protocol for a peer that has finished its handshake; None if it is not let in."""
        peer = Peer(subject=_subject(transport), verified=True)
        try:
            node_id = judge((MANAGER_OU,), peer, None, self._cluster_id, self._is_removed).node_id
        except PermissionDenied as refusal:
            self._refuse(str(peer.subject and ascii(peer.subject.common_name[:50])), refusal)
            return None
        if self._group is None or self._held[node_id] >= CONNECTIONS_PER_PEER:
            return None
        watch_manager(transport.get_extra_info("socket"))
        self._held[node_id] += 1
        guest = _Guest(self._closed, node_id, self._heard)
        guest.refused = self._refuse
        self._ends[guest] = node_id
        self._group.create_task(self._admit(guest), name="etcd peer in")
        return guest

    async def _follow_members(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            answered, self._answered = self._answered, asyncio.Event()
            try:
                self._members = await peer_port.members(self._etcd)
            except Unavailable as error:
                # Connections stay: our etcd is being started again, and nothing passes meanwhile.
                self._members = None
                log.debug("%s", error)
            else:
                self._end_others(self._members)
            answered.set()
            await asyncio.sleep(LOOK_PAUSE)

    def _end_others(self, members: Mapping[str, int]) -> None:
        ended: Counter[str] = Counter()
        for end, node_id in list(self._ends.items()):
            if end.member_id and (members.get(node_id) != end.member_id or self._is_removed(node_id)):
                ended[node_id] += 1
                end.abort()
        for node_id, count in ended.items():
            log.info("manager %s is no member any more: its %d connections to this one's etcd end", node_id, count)

    async def _admit(self, guest: _Guest) -> None:
        # A member of the last look is let in while etcd is asked again, because on a busy host the answer may take as
        # long as an election. If it is no member any more, the answer ends this connection and its older ones.
        answered = self._answered
        self._look.set()
        if self._members is None or guest.node_id not in self._members:
            await answered.wait()
        members = self._members
        if members is None:
            guest.abort()
            return
        member_id = members.get(guest.node_id)
        if member_id is None or self._is_removed(guest.node_id):
            self._refuse(guest.node_id, PermissionDenied("it is not a member of the managers' quorum"))
            await self._send_away(guest, members)
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SOCKET_TIMEOUT):
                with short_path(self._etcd) as path:
                    _, local = await loop.create_unix_connection(lambda: Relay(_ignore), path)
        except (OSError, TimeoutError) as fault:
            log.debug("our etcd does not take a peer's connection: %s", fault)
            guest.abort()
            return
        guest.admit(member_id, members.get(self._own_node), local)

    async def _send_away(self, guest: _Guest, members: Mapping[str, int]) -> None:
        """Answer a former member that it was removed, if it asks. Otherwise its etcd would wait for ever."""
        try:
            question = last_question(await guest.first_words(), members.values())
            if question is not None and await peer_port.status(self._etcd, question) == REMOVED_STATUS:
                guest.answer(gone(question))
                return
        except (TimeoutError, Unavailable) as error:
            log.debug("manager %s is not told whether it was a member: %s", guest.node_id, error or "it says nothing")
        guest.abort()

    def _refuse(self, who: str, refusal: PermissionDenied) -> None:
        self._refusals += 1
        if str(self._refusals).strip("0") == "1":  # at 1, 10, 100, ...
            log.warning(
                "a connection to this manager's etcd was refused (%d so far): %s: %s", self._refusals, who, refusal
            )

    def _closed(self, end: Relay) -> None:
        node_id = self._ends.pop(cast(_Guest, end), "")
        self._held[node_id] -= 1
        if self._held[node_id] <= 0:
            del self._held[node_id]


def watch_manager(sock: socket.socket | None) -> None:
    """Let the kernel end a connection about a second after the other manager's host is lost."""
    if sock is None:
        return
    with suppress(AttributeError):  # some of these constants exist only on Linux
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE * 1000))


def _subject(transport: asyncio.Transport) -> Subject | None:
    certificate = transport.get_extra_info("peercert")
    return subject_of(certificate.get("subject", ())) if certificate else None


def _ignore(_end: Relay) -> None:
    pass
