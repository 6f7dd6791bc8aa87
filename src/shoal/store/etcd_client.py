"""The part of etcd's v3 API that the store needs, on our etcd's unix socket: by grpclib, and short calls by `unary`.

In: messages of `etcd_pb2`. Out: messages, or the errors below. The next call after a failed one reconnects. The client
does not know whether a failed call was carried out. It talks to this host's member, which forwards requests to etcd's
leader by itself. Why not aetcd: docs/decisions/0002-etcd-client.md.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from shoal.api.gen import etcd_grpc
from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import InvalidArgument, NoLeader, ShoalError, Unavailable
from shoal.store.unary import MAX_REQUEST_BYTES, UnaryChannel, Unexpected, request_headers

_Q = TypeVar("_Q", bound=Message)
_R = TypeVar("_R", bound=Message)

log = logging.getLogger(__name__)

# Seconds. Longer than etcd's own limit for a write without quorum (5 s and two elections), so that etcd's error comes.
# A client of an etcd that waits longer for a leader is more patient.
CALL_TIMEOUT = 7.0
# A unix socket's path is at most this long: sun_path in unix(7), with its end mark.
MAX_SOCKET_PATH_BYTES = 107
# A page of a load has a few MB. With HTTP/2's default of 64 KiB it would take dozens of round trips.
_WINDOW_BYTES = 4 * 1024 * 1024

_TXN = request_headers("/etcdserverpb.KV/Txn")
_STATUS = request_headers("/etcdserverpb.Maintenance/Status")

# etcd's errors when there is no quorum, or was none a moment ago: etcd 3.4 etcdserver/api/v3rpc/rpctypes/error.go.
_WITHOUT_LEADER = ("etcdserver: no leader", "etcdserver: request timed out", "etcdserver: leader changed")

_REFUSALS = frozenset(
    {
        Status.INVALID_ARGUMENT,
        Status.FAILED_PRECONDITION,
        Status.NOT_FOUND,
        Status.OUT_OF_RANGE,
        Status.UNIMPLEMENTED,
    }
)


class NoSpace(Unavailable):
    """etcd refused a write, because its quota or disk is full. Nothing was written."""


class Refused(ShoalError):
    """etcd refused a request as wrong. Nothing was written."""


class Compacted(ShoalError):
    """etcd has dropped the requested revisions. The caller must load everything again."""


class EtcdClient:
    """The connections to an etcd on this host. `close()` ends them. After a failed call, the next one reconnects."""

    def __init__(self, socket: Path) -> None:
        """Take the path of etcd's client socket. Raises InvalidArgument if the path is too long for a socket."""
        if len(bytes(socket)) > MAX_SOCKET_PATH_BYTES:
            raise InvalidArgument(f"{socket} is too long for a socket: choose a shorter --exec-root")
        self._channel = Channel(
            path=str(socket),
            config=Configuration(http2_connection_window_size=_WINDOW_BYTES, http2_stream_window_size=_WINDOW_BYTES),
        )
        self._kv = etcd_grpc.KVStub(self._channel)
        self._maintenance = etcd_grpc.MaintenanceStub(self._channel)
        self._cluster = etcd_grpc.ClusterStub(self._channel)
        self._watch = etcd_grpc.WatchStub(self._channel)
        self._short: UnaryChannel | None = UnaryChannel(socket)
        self.patience = CALL_TIMEOUT
        """Seconds until a call is given up."""

    def close(self) -> None:
        """Close the connections. Calls that wait raise Unavailable."""
        self._channel.close()
        if self._short is not None:
            self._short.close()

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """Read keys; linearizable unless the request says otherwise."""
        return await self._call(self._kv.Range, request)

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """Compare and write in one step.

        After Unavailable (but not NoSpace) it may have happened, or may yet happen.
        """
        return await self._call(partial(self._shortly, _TXN, pb.TxnResponse, self._kv.Txn), request)

    async def watch(self, begin: int) -> AsyncGenerator[tuple[int, list[pb.Event]], None]:
        """Yield every revision from `begin` on, in order, with its events, as this member learns of it.

        It only ends by an error: Compacted, or Unavailable. Use `aclosing` to leave it.
        """
        everything = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=begin)
        try:
            async with self._watch.Watch.open() as stream:
                await stream.send_message(pb.WatchRequest(create_request=everything))
                async for response in stream:
                    if response.compact_revision:
                        raise Compacted(f"etcd forgot what was before revision {response.compact_revision}")
                    if response.canceled:
                        raise Unavailable(f"etcd ended a watch: {response.cancel_reason}")
                    # etcd never spreads a revision over several answers unless asked to.
                    for revision, events in groupby(response.events, lambda event: event.kv.mod_revision):
                        yield revision, list(events)
        except GRPCError as error:
            raise _translated(error) from error
        except (OSError, StreamTerminatedError, ProtocolError) as error:
            raise Unavailable(f"etcd cannot be reached: {error}") from error
        raise Unavailable("etcd ended a watch")

    async def compact(self, revision: int, *, physical: bool) -> pb.CompactionResponse:
        """Drop the history before a revision. `physical`: answer only when the database has dropped it."""
        return await self._call(self._kv.Compact, pb.CompactionRequest(revision=revision, physical=physical))

    async def defragment(self) -> pb.DefragmentResponse:
        """Return the free pages of the database to the disk. Writes wait meanwhile."""
        return await self._call(self._maintenance.Defragment, pb.DefragmentRequest())

    async def alarm(self, request: pb.AlarmRequest) -> pb.AlarmResponse:
        """Read or clear alarms."""
        return await self._call(self._maintenance.Alarm, request)

    async def status(self) -> pb.StatusResponse:
        """Return this member's own view of the leader, the term, and the size of its database.

        It may be out of date.
        """
        status = partial(self._shortly, _STATUS, pb.StatusResponse, self._maintenance.Status)
        return await self._call(status, pb.StatusRequest())

    async def move_leader(self, member: int) -> pb.MoveLeaderResponse:
        """Hand the lead of Raft to another member."""
        return await self._call(self._maintenance.MoveLeader, pb.MoveLeaderRequest(targetID=member))

    async def members(self) -> pb.MemberListResponse:
        """List the members of the cluster, as this member knows them. A learner does not answer."""
        return await self._call(self._cluster.MemberList, pb.MemberListRequest())

    async def add_member(self, peer_url: str, *, learner: bool) -> pb.MemberAddResponse:
        """Admit a member that will be reached at this URL."""
        request = pb.MemberAddRequest(peerURLs=[peer_url], isLearner=learner)
        return await self._call(self._cluster.MemberAdd, request)

    async def promote_member(self, member: int) -> pb.MemberPromoteResponse:
        """Make a learner a voter."""
        return await self._call(self._cluster.MemberPromote, pb.MemberPromoteRequest(ID=member))

    async def update_member(self, member: int, peer_url: str) -> pb.MemberUpdateResponse:
        """Change the URL of a member."""
        request = pb.MemberUpdateRequest(ID=member, peerURLs=[peer_url])
        return await self._call(self._cluster.MemberUpdate, request)

    async def remove_member(self, member: int) -> pb.MemberRemoveResponse:
        """Remove a member from the cluster."""
        return await self._call(self._cluster.MemberRemove, pb.MemberRemoveRequest(ID=member))

    async def _shortly(self, headers: bytes, kind: type[_R], method: Callable[[_Q], Awaitable[_R]], request: _Q) -> _R:
        """Make a call whose reply is short: by `unary` where the request is short, too, otherwise by grpclib."""
        if self._short is not None and request.ByteSize() <= MAX_REQUEST_BYTES:
            try:
                reply = await self._short.call(headers, request.SerializeToString())
                if reply is not None:
                    return _parsed(kind, reply)
            except Unexpected as error:
                log.warning("short calls go the long way from now on: %s", error)
                self._short.close()
                self._short = None
                raise
        return await method(request)

    async def _call(self, method: Callable[[_Q], Awaitable[_R]], request: _Q) -> _R:
        try:
            async with asyncio.timeout(self.patience):
                return await method(request)
        except GRPCError as error:
            raise _translated(error) from error
        except TimeoutError as error:
            # The connection itself may hang, so the next call gets another one.
            self.close()
            raise Unavailable(f"etcd did not answer within {self.patience:g} s") from error
        except (OSError, StreamTerminatedError, ProtocolError, H2Error) as error:
            raise Unavailable(f"etcd cannot be reached: {error}") from error
        except AttributeError as error:
            # If a connection is lost just after it was made, grpclib deletes its `_transport` (protocol.py,
            # Connection.close) and then reads it.
            if error.name != "_transport":
                raise
            raise Unavailable("etcd cannot be reached: the connection was lost") from error


def _parsed(kind: type[_R], reply: bytes) -> _R:
    message = kind()
    try:
        message.ParseFromString(reply)
    except DecodeError as error:
        raise Unexpected(f"etcd answers in an unexpected way: {error}") from error
    return message


def _translated(error: GRPCError) -> ShoalError:
    message = error.message or error.status.name
    # Texts: etcd 3.4 etcdserver/api/v3rpc/rpctypes/error.go.
    if error.status is Status.RESOURCE_EXHAUSTED and "space exceeded" in message:
        return NoSpace(f"etcd has no space left ({message}): free some disk, or make fewer objects")
    if error.status in _REFUSALS:
        return Refused(f"etcd refused: {message}")
    if message.startswith(_WITHOUT_LEADER):
        return NoLeader(f"etcd is not available: {message}")
    return Unavailable(f"etcd is not available: {message}")
