"""Calls of nodes that only the leader answers, re-issued by a manager that follows.

In: a call as it came, and who made it. Out: the leader's answer. The call goes out over this manager's own connection,
with headers that name the node and its address; what a peer itself has put into such headers is dropped. A call is
forwarded once. Source: SwarmKit ca/forward.go, protobuf/plugin/raftproxy.
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

# A call that was sent here as to the leader waits for so long while this manager takes the lead up.
TAKING_OVER = 1.0
MAX_STATUS = max(status.value for status in Status)
_OURS = frozenset({FORWARDED_MARK, FORWARDED_CN, FORWARDED_ORG, FORWARDED_OU, FORWARDED_ADDRESS, REDIRECT})


class Forwarder:
    """Forwards calls to the leader. `own_address` is what this manager is known by."""

    def __init__(self, link: LeaderLink, own_address: str) -> None:
        self._link = link
        self._own_address = own_address

    async def __call__(self, path: str, handler: Handler, stream: AnyStream, peer: Peer) -> bool:
        """Answer a call by what the leader answers; False where this manager leads by now."""
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
            # Of a unary call the request has been read: its caller asks again, and is answered here.
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
                await _answers(out, stream)
                return
            await _both_ways(stream, out)


def headers(stream: AnyStream, peer: Peer, own_address: str) -> MultiDict[str]:
    """Return the headers of a forwarded call: the caller's own, and who it is."""
    metadata: MultiDict[Any] = MultiDict(
        (name, value) for name, value in (stream.metadata or {}).items() if name not in _OURS
    )
    # The mark is set for a caller without a certificate as well: without it, the call would be this manager's own.
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
        if value:  # grpclib sends no blank ones; a header that is missing reads the same
            metadata.add(name, value)
    return metadata


async def _both_ways(stream: AnyStream, out: Any) -> None:
    """Carry requests and answers. Raises what the leader says, or one of Broken."""
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
        # A group whose children fail while it is being cancelled tells only of the failures.
        raise asyncio.CancelledError
    if faults:
        raise _refusal(out) or faults[0]


def _refusal(out: Any) -> GRPCError | None:
    """Return what the leader said before it reset a stream on which more requests came.

    grpclib forgets it: whoever waits for the answer is told of the reset alone.
    """
    told = dict(out._stream.trailers or out._stream.headers or ())
    code = told.get("grpc-status", "")
    if not code.isdigit() or int(code) == Status.OK.value or int(code) > MAX_STATUS:
        return None
    return GRPCError(Status(int(code)), decode_grpc_message(told.get("grpc-message", "")))


async def _answers(out: Any, stream: AnyStream) -> None:
    async for reply in out:
        await stream.send_message(reply)
    await out.recv_trailing_metadata()  # raises what the leader has to say at the end


async def _requests(stream: AnyStream, out: Any) -> None:
    async for request in stream:
        await out.send_message(request)
    await out.end()
