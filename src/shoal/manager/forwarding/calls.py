"""Forwards calls of nodes from a manager that follows to the leader.

In: a call and its caller. Out: the leader's answer. The forwarded call uses this manager's own connection, with headers
that name the node and its address. Such headers from the caller itself are dropped. A call is forwarded only once.
Source: SwarmKit ca/forward.go, protobuf/plugin/raftproxy.
"""

import asyncio
from typing import Any

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_grpc_message
from multidict import MultiDict

from shoal.errors import ResourceExhausted, Unavailable
from shoal.manager.forwarding.leader_link import TAKEN_OVER, Broken, LeaderLink, LeadsHere
from shoal.manager.port.authorization import (
    FORWARDED_ADDRESS,
    FORWARDED_CN,
    FORWARDED_MARK,
    FORWARDED_ORG,
    FORWARDED_OU,
    REDIRECT,
    Peer,
    Subject,
)
from shoal.manager.port.guard import REDIRECTED, AnyStream, texts_of

# Seconds. A call that another manager forwarded here waits this long for this manager to become the leader.
TAKING_OVER = 1.0
MAX_STATUS = max(status.value for status in Status)
_OURS = frozenset({FORWARDED_MARK, FORWARDED_CN, FORWARDED_ORG, FORWARDED_OU, FORWARDED_ADDRESS, REDIRECT})


class Forwarder:
    """Forwards calls to the leader. `own_address` is this manager's address for other managers."""

    def __init__(self, link: LeaderLink, own_address: str) -> None:
        self._link = link
        self._own_address = own_address

    async def __call__(self, path: str, handler: Handler, stream: AnyStream, peer: Peer) -> bool:
        """Answer a call with the leader's answer. Return False if this manager leads by now and must answer itself.

        Raises ResourceExhausted for a call that was forwarded before, Unavailable, or the leader's GRPCError.
        """
        hops = texts_of(stream)
        if REDIRECT in hops or FORWARDED_MARK in hops:
            if await self._link.wait_own_lead(TAKING_OVER):
                return False
            raise ResourceExhausted(f"{REDIRECTED}: [{' '.join(hops.get(REDIRECT, []))}]")
        metadata = headers(stream, peer, self._own_address)
        try:
            if handler.cardinality.client_streaming or handler.cardinality.server_streaming:
                await self._stream(path, handler, stream, metadata)
            else:
                request = await stream.recv_message()
                if request is None:
                    return True
                reply = await self._link.call(path, handler, request, metadata=metadata, deadline=stream.deadline)
                await stream.send_message(reply)
        except LeadsHere:
            # The request of a unary call has been read already. Its caller calls again and is answered here.
            if handler.cardinality.client_streaming or handler.cardinality.server_streaming:
                return False
            raise Unavailable(TAKEN_OVER) from None
        except Broken as fault:
            raise Unavailable(f"connection to the leader was lost: {fault or type(fault).__name__}") from fault
        return True

    async def _stream(self, path: str, handler: Handler, stream: AnyStream, metadata: MultiDict[str]) -> None:
        await self._link.wait_leader()
        async with self._link.open(path, handler, metadata=metadata, deadline=stream.deadline) as out:
            if not handler.cardinality.client_streaming:
                request = await stream.recv_message()
                if request is None:
                    return
                await out.send_message(request, end=True)
                del request  # with whatever else is in it, while the stream lasts
                await _answers(out, stream)
                return
            await _both_ways(stream, out)


def headers(stream: AnyStream, peer: Peer, own_address: str) -> MultiDict[str]:
    """Return the headers of a forwarded call: the caller's own headers, and those that identify the caller."""
    metadata: MultiDict[Any] = MultiDict(
        (name, value) for name, value in (stream.metadata or {}).items() if name not in _OURS
    )
    # The mark is also set for a caller without a certificate. Without it, the leader would take this manager for the
    # caller.
    subject = peer.subject or Subject()
    metadata[FORWARDED_MARK] = "true"
    names = [
        (FORWARDED_CN, subject.common_name),
        (FORWARDED_ORG, subject.organization),
        *((FORWARDED_OU, unit) for unit in subject.units),
        (FORWARDED_ADDRESS, peer.address),
        (REDIRECT, own_address),
    ]
    for name, value in names:
        if value:  # grpclib cannot send empty headers; a missing one means the same
            metadata.add(name, value)
    return metadata


async def _both_ways(stream: AnyStream, out: Any) -> None:
    """Carry requests and answers in both directions. Raises the leader's GRPCError, or one of Broken."""
    faults: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_requests(stream, out), name="forward requests")
            await _answers(out, stream)
            sending.cancel()
    except* Broken as broken:
        faults.extend(broken.exceptions)
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        # A TaskGroup that is cancelled while its children fail only raises the failures.
        raise asyncio.CancelledError
    if faults:
        raise _refusal(out) or faults[0]


def _refusal(out: Any) -> GRPCError | None:
    """Return the leader's error if it answered and then reset the stream, because more requests came.

    grpclib drops that error and only raises StreamTerminatedError.
    """
    told = dict(out._stream.trailers or out._stream.headers or ())
    code = told.get("grpc-status", "")
    if not code.isdigit() or int(code) == Status.OK.value or int(code) > MAX_STATUS:
        return None
    return GRPCError(Status(int(code)), decode_grpc_message(told.get("grpc-message", "")))


async def _answers(out: Any, stream: AnyStream) -> None:
    async for reply in out:
        await stream.send_message(reply)
    await out.recv_trailing_metadata()  # raises the leader's final error, if any


async def _requests(stream: AnyStream, out: Any) -> None:
    async for request in stream:
        await out.send_message(request)
    await out.end()
