"""Answers a manager that asks what this node sees of networks, within one session.

In: requests of session messages. Out: calls to the manager that asked. A manager is answered and nobody else: nothing
but the session's own connection is used. Bounded: so many requests at a time, so long an answer.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from shoal.api.gen import views_pb2 as pb
from shoal.api.gen.views_grpc import ViewsStub

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4
MOST_NETWORKS = 64
MOST_BYTES = 2 * 1024 * 1024
ANSWER_TIMEOUT = 5.0  # seconds; the manager waits no longer

Look = Callable[[str], Awaitable[Mapping[str, Any]]]


class ViewAnswers:
    """The requests of one session. `look` returns what there is of a network on this node, and never raises."""

    def __init__(self, stub: ViewsStub, look: Look, group: asyncio.TaskGroup) -> None:
        self._stub = stub
        self._look = look
        self._group = group
        self._running = 0

    def take(self, requests: Iterable[pb.ViewRequest]) -> None:
        """Begin to answer requests. One beyond the limit is not answered: the manager says so."""
        for request in requests:
            if self._running >= MOST_AT_ONCE:
                log.warning("more than %s managers ask for this node's networks at once", MOST_AT_ONCE)
                return
            self._running += 1
            self._group.create_task(self._answer(request), name=f"view {request.id}")

    async def _answer(self, request: pb.ViewRequest) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                views = [await self._look(network_id) for network_id in request.network_ids[:MOST_NETWORKS]]
                body = await asyncio.to_thread(lambda: json.dumps(views).encode())
                answer = pb.ViewAnswer(id=request.id, views=body)
                if len(body) > MOST_BYTES:
                    answer = pb.ViewAnswer(id=request.id, reason=f"its view has {len(body)} bytes: ask its own daemon")
                await self._stub.Answer(answer)
        except (GRPCError, StreamTerminatedError, ProtocolError, H2Error, OSError, TimeoutError) as error:
            # Whoever asked is gone, or the session broke, which its other parts report.
            log.debug("a view of this node's networks was not taken: %r", error)
        finally:
            self._running -= 1
