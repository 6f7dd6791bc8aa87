"""One session of this node with one manager: registration, heartbeats, assignments in, statuses and logs out.

In: a channel to a manager and the node's description; out: messages handed to the `SessionOwner`. Every session ends
with SessionEnded; the owner then registers again. Source of the flows: SwarmKit agent/session.go.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from shoal.agent.log_streams import LogPublisher, LogSource
from shoal.agent.reporter import Report
from shoal.agent.views import ViewAnswers
from shoal.agent.worker import follows
from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.api.gen.logbroker_grpc import LogBrokerStub
from shoal.api.gen.views_grpc import ViewsStub
from shoal.api.times import seconds
from shoal.errors import ShoalError

log = logging.getLogger(__name__)

RPC_TIMEOUT = 5.0
SHORTEST_PERIOD = 0.05  # seconds between heartbeats, if a manager asks for a shorter period

Broken = (GRPCError, StreamTerminatedError, ProtocolError, H2Error, OSError, TimeoutError)


class SessionEnded(ShoalError):
    """The session is over and the node has to register again.

    `distrusted`: this node could not verify the manager's certificate. `is_refused`: the manager does not admit this
    node (PERMISSION_DENIED); the message is its reason.
    """

    def __init__(self, message: str, *, distrusted: bool = False, is_refused: bool = False) -> None:
        super().__init__(message)
        self.distrusted = distrusted
        self.is_refused = is_refused


class SessionOwner(LogSource, Protocol):
    """The part of the agent that a session works for."""

    def handle_session_message(self, message: api.SessionMessage) -> None:
        """Take in what the manager says about this node, the managers and the keys."""

    def handle_registered(self) -> None:
        """Note that the session has begun. Called after its first message."""

    def handle_assignments(self, message: api.AssignmentsMessage) -> None:
        """Take in assignments."""

    async def wait_reports(self) -> list[Report]:
        """Return the next statuses to report, once they are due."""

    def give_back_reports(self, reports: list[Report]) -> None:
        """Take back statuses that the manager did not receive."""

    async def look(self, network_id: str) -> Mapping[str, Any]:
        """Return what there is of a network on this node."""

    async def wait_identity_change(self) -> None:
        """Return when the node has changed and must register again."""


class ClientSession:
    """One session. `run` may be called once."""

    def __init__(self, channel: Channel, owner: SessionOwner, description: api.NodeDescription, old_id: str) -> None:
        self._dispatcher = DispatcherStub(channel)
        self._broker = LogBrokerStub(channel)
        self._views = ViewsStub(channel)
        self._owner = owner
        self._description = description
        self._old_id = old_id
        self.id = ""
        """The session's id; empty until the node is registered."""

    async def run(self) -> None:
        """Register and serve until the session breaks. Always raises: SessionEnded, or CancelledError."""
        ended = SessionEnded("the session was closed")
        try:
            await self._serve()
        except* SessionEnded as group:
            ended = _first(group, SessionEnded)
        except* Broken as group:
            ended = _explain(group)
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            # A TaskGroup whose children fail while it is cancelled raises only their failures.
            raise asyncio.CancelledError
        raise ended

    async def _serve(self) -> None:
        async with self._dispatcher.Session.open() as stream:
            async with asyncio.timeout(RPC_TIMEOUT):
                request = api.SessionRequest(description=self._description, session_id=self._old_id)
                await stream.send_message(request, end=True)
                message = await stream.recv_message()
            if message is None:
                await stream.recv_trailing_metadata()  # raises the manager's error, if it sent one
                raise SessionEnded("the manager closed the session at once")
            self.id = message.session_id
            self._owner.handle_session_message(message)
            self._owner.handle_registered()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heartbeat(), name="session-heartbeat")
                group.create_task(self._assignments(), name="session-assignments")
                group.create_task(self._report(), name="session-report")
                group.create_task(self._logs(), name="session-logs")
                group.create_task(self._watch_identity(), name="session-identity")
                views = ViewAnswers(self._views, self._owner.look, group)
                async for message in stream:
                    self._owner.handle_session_message(message)
                    views.take(message.view_requests)
                raise SessionEnded("the manager closed the session")

    async def _heartbeat(self) -> None:
        while True:
            reply = await self._dispatcher.Heartbeat(api.HeartbeatRequest(session_id=self.id), timeout=RPC_TIMEOUT)
            await asyncio.sleep(max(seconds(reply.period), SHORTEST_PERIOD))

    async def _assignments(self) -> None:
        while True:
            applied = ""
            async with self._dispatcher.Assignments.open() as stream:
                await stream.send_message(api.AssignmentsRequest(session_id=self.id), end=True)
                async for message in stream:
                    self._owner.handle_assignments(message)
                    if not follows(message, applied):
                        # A message was lost. This one is applied all the same, and a new stream begins with the
                        # complete assignments.
                        log.warning("an increment of assignments was missed: reading all of them again")
                        await stream.cancel()
                        break
                    applied = message.results_in
                else:
                    raise SessionEnded("the manager closed the assignments")

    async def _report(self) -> None:
        while True:
            batch = await self._owner.wait_reports()
            updates = [
                api.UpdateTaskStatusRequest.TaskStatusUpdate(task_id=task_id, status=status)
                for task_id, status in batch
            ]
            request = api.UpdateTaskStatusRequest(session_id=self.id, updates=updates)
            received = False
            try:
                await self._dispatcher.UpdateTaskStatus(request, timeout=RPC_TIMEOUT)
                received = True
            finally:
                if not received:
                    self._owner.give_back_reports(batch)

    async def _logs(self) -> None:
        try:
            await LogPublisher(self._broker, self._owner).serve()
        except* GRPCError as group:
            error = _leaf(group)
            if not isinstance(error, GRPCError) or error.status is not Status.UNIMPLEMENTED:
                raise
            log.info("the manager serves no logs")

    async def _watch_identity(self) -> None:
        await self._owner.wait_identity_change()
        raise SessionEnded("the node has changed and registers again")


def _first(group: BaseExceptionGroup, kind: type[SessionEnded]) -> SessionEnded:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error, kind)
        if isinstance(error, kind):
            return error
    raise AssertionError("a group without an exception")


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _explain(group: BaseExceptionGroup) -> SessionEnded:
    error = _leaf(group)
    if isinstance(error, GRPCError):
        is_refused = error.status is Status.PERMISSION_DENIED
        return SessionEnded(error.message or error.status.name, is_refused=is_refused)
    distrusted = isinstance(error, ssl.SSLCertVerificationError)
    return SessionEnded(str(error) or type(error).__name__, distrusted=distrusted)
