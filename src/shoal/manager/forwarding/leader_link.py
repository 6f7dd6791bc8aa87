"""This manager's way to the one that leads: who that is, connections to it, calls that outlive a change of the lead.

In: what this manager learns of the lead (`tell`). Out: calls of the leader's services over mutual TLS, as this node.
While nobody leads, a call waits for a moment, as elections are short; later ones hear at once that there is no leader.
Source of the rules: SwarmKit protobuf/plugin/raftproxy, manager/state/raft (`ErrNoClusterLeader`).
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error
from multidict import MultiDict

from shoal.ca.security import MANAGER_SERVER_NAME
from shoal.errors import NoLeader, Unavailable
from shoal.manager.peers.incoming import watch_manager
from shoal.manager.port.guard import NO_LEADER, REDIRECTED

log = logging.getLogger(__name__)

# How long calls wait for a leader, from when there was none: a few elections. SwarmKit's is ten seconds.
PATIENCE = 5.0
RETRY_AFTER = 0.1  # the leader does not answer, and perhaps it is not known yet that it is gone
CONNECT_TIMEOUT = 2.0
# HTTP/2 lets a client open 100 streams on a connection (the default of our servers); nodes hold several each.
STREAMS_PER_CHANNEL = 90
# What was asked of a leader just before it handed the lead on is still answered; one that is gone does not answer.
LAST_WORDS = 0.5

Broken = (StreamTerminatedError, ProtocolError, H2Error, OSError, TimeoutError)
# What a manager says that came to lead while it read a request that it was to forward.
TAKEN_OVER = "this manager has just taken the lead: try again"
# What a manager says that was asked as the leader and is not, or not yet: it has done nothing.
_NOT_THE_LEADER = (
    str(NoLeader()),
    NO_LEADER,
    TAKEN_OVER,
)


class LeadsHere(Exception):
    """The leader is this manager itself: what was to be sent to it is to be done here."""


class Security(Protocol):
    """This node's identity, as `shoal.ca.security` keeps it."""

    def client_context(self) -> ssl.SSLContext:
        """Return the context for calling a manager."""


@dataclass(slots=True, eq=False)
class _Lane:
    """One connection to the leader, and how many calls are under way on it."""

    channel: Channel
    calls: int = 0


class LeaderLink:
    """Knows who leads and calls it. `tell` is to be called at every change, `close` at the end."""

    def __init__(self, security: Security, *, patience: float = PATIENCE) -> None:
        self._security = security
        self._patience = patience
        self._lost_at = asyncio.get_running_loop().time()
        self._changed = asyncio.Event()
        self._lanes: list[_Lane] = []
        self._retired: dict[_Lane, asyncio.TimerHandle] = {}
        self.leads = False
        """Whether this manager leads, and answers."""
        self.node_id = ""
        """The manager that leads; empty where nobody knows."""
        self.address = ""
        self.trouble: Callable[[], str | None] = lambda: None
        """Tells what keeps this manager from knowing, if something of its own does: a full disk, say."""

    def tell(self, node_id: str, address: str, *, leads: bool) -> None:
        """Take in who leads, and where it is; `leads`: this manager does, and answers."""
        if (node_id, address, leads) == (self.node_id, self.address, self.leads):
            return
        had = self.leads or bool(self.address)
        if (node_id, address) != (self.node_id, self.address):
            self._retire_lanes()
        self.node_id, self.address, self.leads = node_id, address, leads
        if had and not leads and not address:
            self._lost_at = asyncio.get_running_loop().time()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Close every connection."""
        self._retire_lanes()
        for lane in list(self._retired):
            self._end_lane(lane)

    async def wait_own_lead(self, seconds: float) -> bool:
        """Return whether this manager leads, once it does or after so long."""
        try:
            async with asyncio.timeout(seconds):
                while not self.leads:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def wait_settled(self) -> None:
        """Give a change of the lead a moment: return after the next one, or soon."""
        await self._wait_change(RETRY_AFTER)

    async def wait_leader(self) -> None:
        """Wait until a leader is known. Raises LeadsHere, and NoLeader with Docker's text."""
        while not self.address or self.leads:
            if self.leads:
                raise LeadsHere
            left = self._lost_at + self._patience - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(left, 0)):
                    await self._changed.wait()
            except TimeoutError as fault:
                trouble = self.trouble()
                raise NoLeader(f"{NO_LEADER} ({trouble})" if trouble else NO_LEADER) from fault

    async def call(
        self,
        path: str,
        handler: Handler,
        request: Any,
        *,
        metadata: Mapping[str, str] | None = None,
        deadline: Deadline | None = None,
        repeatable: bool = True,
    ) -> Any:
        """Make a unary call and return its reply.

        One that surely was not carried out is sent again until there has been no leader for too long; one that may have
        been is sent again once if it is `repeatable`, as updates and removals are by versions and ids. Raises GRPCError
        with what the leader says, Unavailable, LeadsHere.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience
        doubtful = False
        while True:
            await self.wait_leader()
            sent = False
            try:
                async with self.open(path, handler, metadata=metadata, deadline=deadline) as stream:
                    await stream.send_message(request, end=True)
                    sent = True
                    reply = await stream.recv_message()
                    await stream.recv_trailing_metadata()
                    return reply
            except GRPCError as error:
                if not _is_redirected(error) or loop.time() > give_up_at:
                    raise
            except Broken as fault:
                if doubtful or (sent and not repeatable) or loop.time() > give_up_at:
                    raise Unavailable(f"connection to the leader was lost: {fault or type(fault).__name__}") from fault
                doubtful = doubtful or sent
            await self._wait_change(RETRY_AFTER)

    @asynccontextmanager
    async def open(
        self,
        path: str,
        handler: Handler,
        *,
        metadata: Mapping[str, str] | None = None,
        deadline: Deadline | None = None,
    ) -> AsyncIterator[Stream[Any, Any]]:
        """Open a call to the leader that is known now (`wait_leader` first). The connection is made; raises OSError."""
        lane = self._lane()
        lane.calls += 1
        try:
            async with lane.channel.request(
                path,
                handler.cardinality,
                handler.request_type,
                handler.reply_type,
                metadata=MultiDict(metadata or ()),
                deadline=deadline,
            ) as stream:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await stream.send_request()
                yield stream
        finally:
            lane.calls -= 1

    def _lane(self) -> _Lane:
        for lane in self._lanes:
            if lane.calls < STREAMS_PER_CHANNEL:
                return lane
        host, _, port = self.address.rpartition(":")
        channel = _Channel(
            host.strip("[]"),
            int(port or 0),
            ssl=self._security.client_context(),
            config=Configuration(ssl_target_name_override=MANAGER_SERVER_NAME),
        )
        lane = _Lane(channel)
        self._lanes.append(lane)
        return lane

    def _retire_lanes(self) -> None:
        loop = asyncio.get_running_loop()
        for lane in self._lanes:
            self._retired[lane] = loop.call_later(LAST_WORDS if lane.calls else 0, self._end_lane, lane)
        self._lanes.clear()

    def _end_lane(self, lane: _Lane) -> None:
        self._retired.pop(lane).cancel()
        lane.channel.close()

    async def _wait_change(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass  # the next attempt shows whether it answers now


class _Channel(Channel):
    """A connection whose dead peer is noticed within about a second."""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        watch_manager(protocol.connection._transport.get_extra_info("socket"))
        return protocol


def _is_redirected(error: GRPCError) -> bool:
    """Return whether a call was refused because the one that was asked does not lead."""
    message = error.message or ""
    if error.status is Status.UNAVAILABLE:
        return message.startswith(_NOT_THE_LEADER)
    return error.status is Status.RESOURCE_EXHAUSTED and message.startswith(REDIRECTED)
