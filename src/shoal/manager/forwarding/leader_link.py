"""This manager's connection to the leader: who leads, channels to it, and calls that survive a change of leader.

In: what this manager learns about the leader (`tell`). Out: calls to the leader's services over mutual TLS, as this
node. When the leader is lost, calls wait for `PATIENCE`, because elections are short; after that, calls fail at once.
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

# Seconds from the loss of the leader during which calls wait for a new one: a few elections. SwarmKit's is ten seconds.
PATIENCE = 5.0
SLOW_PATIENCE = 10.0  # where elections take long (`store/pace`)
RETRY_AFTER = 0.1  # seconds, when the leader does not answer but is not known to be gone
CONNECT_TIMEOUT = 2.0
# Our servers allow 100 streams per HTTP/2 connection, and each node keeps several open.
STREAMS_PER_CHANNEL = 90
# Seconds. A leader that hands over still answers the calls from just before; one that is gone does not.
LAST_WORDS = 0.5

Broken = (StreamTerminatedError, ProtocolError, H2Error, OSError, TimeoutError)
# The error of a manager that became the leader while it was forwarding a call.
TAKEN_OVER = "this manager has just taken the lead: try again"
# The errors of a manager that was called as the leader but does not lead, or not yet. It has carried out nothing.
_NOT_THE_LEADER = (
    str(NoLeader()),
    NO_LEADER,
    TAKEN_OVER,
)


class LeadsHere(Exception):
    """This manager leads itself, so the call must be answered here."""


class Security(Protocol):
    """This node's identity; see `shoal.ca.security`."""

    def client_context(self) -> ssl.SSLContext:
        """Return the context for calling a manager."""


@dataclass(slots=True, eq=False)
class _Lane:
    """One connection to the leader, and the number of calls on it."""

    channel: Channel
    calls: int = 0


class LeaderLink:
    """Knows the leader and calls it. Call `tell` at every change and `close` at the end."""

    def __init__(self, security: Security, *, patience: float = PATIENCE) -> None:
        self._security = security
        self.patience = patience
        """Seconds that calls wait for a leader after it was lost."""
        self._lost_at = asyncio.get_running_loop().time()
        self._changed = asyncio.Event()
        self._lanes: list[_Lane] = []
        self._retired: dict[_Lane, asyncio.TimerHandle] = {}
        self.leads = False
        """Whether this manager leads and can answer."""
        self.node_id = ""
        """The leader's node id; empty if it is unknown."""
        self.address = ""
        self.trouble: Callable[[], str | None] = lambda: None
        """Returns what keeps this manager from knowing the leader, for example a full disk; else None."""

    def tell(self, node_id: str, address: str, *, leads: bool) -> None:
        """Set the leader and its address. `leads`: it is this manager, and it can answer."""
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
        """Wait up to `seconds` for this manager to lead. Return whether it does."""
        try:
            async with asyncio.timeout(seconds):
                while not self.leads:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def wait_settled(self) -> None:
        """Return after the next change of leader, or after `RETRY_AFTER`."""
        await self._wait_change(RETRY_AFTER)

    async def wait_leader(self) -> None:
        """Wait until another manager is known to lead. Raises LeadsHere, or NoLeader with Docker's text."""
        while not self.address or self.leads:
            if self.leads:
                raise LeadsHere
            left = self._lost_at + self.patience - asyncio.get_running_loop().time()
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

        A call that was certainly not carried out is sent again, for up to `patience` seconds. One that may have been
        carried out is sent again once if it is `repeatable`: updates and removals are, because of their versions and
        ids. Raises GRPCError with the leader's error, Unavailable, NoLeader, LeadsHere.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.patience
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
        """Open a call to the present leader, and connect if needed. Call `wait_leader` first. Raises OSError."""
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
            pass  # then the caller just tries again


class _Channel(Channel):
    """A connection that notices within about a second that its peer is gone."""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        watch_manager(protocol.connection._transport.get_extra_info("socket"))
        return protocol


def _is_redirected(error: GRPCError) -> bool:
    """Return whether a call was refused because the called manager does not lead."""
    message = error.message or ""
    if error.status is Status.UNAVAILABLE:
        return message.startswith(_NOT_THE_LEADER)
    return error.status is Status.RESOURCE_EXHAUSTED and message.startswith(REDIRECTED)
