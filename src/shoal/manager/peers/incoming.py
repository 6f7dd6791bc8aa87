"""Takes connections of other managers' etcds from port 2377 to the socket of our own etcd.

etcd's peers speak over unix sockets alone; shoald carries their bytes over mutual TLS (docs/decisions). In: connections
of port 2377 whose peer chose the protocol `shoal-raft`. Out: bytes to and from our etcd. Only a manager that is a
member of etcd's cluster now is let in, and only with requests in its own name (`requests`). Bytes pass from protocol to
protocol without a child or a queue; a side that does not read stops the other one. An end on one side ends the other
once what was received has been passed on: TLS has no half-closed state in asyncio, and etcd's peers (HTTP) need none.
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

# What waits on one side for the other to read; one read of the loop's (256 KiB) may come on top.
BUFFER_BYTES = 256 * 1024
# etcd holds two streams, and opens up to four connections at once for messages beside them; some more while it retries.
CONNECTIONS_PER_PEER = 64
# A manager that says nothing for so long is taken for dead: etcd's followers and leader talk every 100 ms.
SILENCE = 1.0
SOCKET_TIMEOUT = 1.0  # our own etcd accepts at once, or it does not run
# Between two questions to our etcd: a manager that was removed and knocks all the time costs no more than these.
LOOK_PAUSE = 0.02
FIRST_WORDS_TIMEOUT = 1.0  # for one that is not let in to say what it wanted
REMOVED_STATUS = 410  # what etcd answers a member that was removed


class Relay(asyncio.Protocol):
    """One end of a tunnel. What it receives is written to the end that it was joined to."""

    def __init__(self, closed: "Callable[[Relay], None]", heard: Callable[[], None] | None = None) -> None:
        self._closed = closed
        self._heard = heard
        self._other: Relay | None = None
        self._early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without reading: there is nowhere yet for the bytes to go."""
        # uvloop's transports are not asyncio.Transport by class.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        transport.pause_reading()

    def join(self, other: "Relay") -> None:
        """Let bytes pass between two ends. One that is gone already ends the other."""
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
        """Take bytes from the peer, or leave them to it for now."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self._heard is not None:
            self._heard()
        other = self._other
        if other is None:
            self.hold(data)
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def hold(self, data: bytes) -> None:
        """Keep what came before there was somewhere for it to go."""
        # asyncio (3.11) may begin to read although `connection_made` asked it not to, and takes that for done: only
        # after a resumption does it pause. One read, and then no more.
        self._early += data
        self.read(reading=True)
        self.read(reading=False)

    def pause_writing(self) -> None:
        """Stop the other end: this one's peer does not read."""
        if self._other is not None:
            self._other.read(reading=False)

    def resume_writing(self) -> None:
        """Go on."""
        if self._other is not None:
            self._other.read(reading=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the other end as well, after what it still has to send."""
        self.transport = None
        self._closed(self)
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """Send what there is, and end."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """End at once."""
        # asyncio's TLS transport (3.11) cannot be aborted once it is closing; its own timeout ends it.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()


class _Guest(Relay):
    """The end at another manager: what it asks our etcd is judged before it passes."""

    def __init__(self, closed: Callable[[Relay], None], node_id: str, heard: Callable[[str], None]) -> None:
        super().__init__(closed, lambda: heard(node_id))
        self.node_id = node_id
        self.member_id = 0  # in etcd's cluster, once it was let in
        self.spoke = asyncio.Event()
        self.refused: Callable[[str, PermissionDenied], None] = lambda node_id, refusal: None
        self._requests: Requests | None = None

    def admit(self, member_id: int, own_id: int | None, other: Relay) -> None:
        """Let requests through that are this member's own."""
        self.member_id, self._requests = member_id, Requests(self.node_id, member_id, own_id)
        self.join(other)

    async def first_words(self) -> bytes:
        """Return what was said first by one that is not let in. Raises TimeoutError."""
        self.read(reading=True)
        async with asyncio.timeout(FIRST_WORDS_TIMEOUT):
            await self.spoke.wait()
        return self._early

    def answer(self, data: bytes) -> None:
        """Say one thing, and end."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)
            self.close()

    def data_received(self, data: bytes) -> None:
        """Pass on what may pass; end both ends at what may not."""
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
    """Lets other managers' etcds through to ours, whose socket is `etcd`. Works inside `run`.

    Let in are managers whose certificates were not blacklisted (`is_removed`) and whose nodes are members of etcd's
    cluster, as our own etcd has it; it is asked at each knock and by `look`, and what there is of others ends. `heard`
    is told the id of a manager whenever something comes from it.
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
        self._members: Mapping[str, int] | None = None  # None: our etcd does not say
        self._look = asyncio.Event()
        self._answered = asyncio.Event()  # of the next look; each has its own
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
        """Ask our etcd anew who its members are, and end what there is of those that are none."""
        self._look.set()

    def accept(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Return who speaks to a peer that has just shaken hands; None where it may not come in."""
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
                # Who is in stays: our etcd starts anew, and nothing passes meanwhile.
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
        # Who was a member at the last look is let in while etcd is asked anew, which ends it again if it is none: until
        # then its older connections are open as well. On a busy host an answer may take as long as an election.
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
        """Tell one that is no member any more that this is so, if it asks: its etcd would wait for ever otherwise."""
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
    """Let the kernel end a connection to a manager that is gone within about a second."""
    if sock is None:
        return
    with suppress(AttributeError):  # not every kernel that Python runs on has them all
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
