"""Sends the logs of this node's tasks to a manager, on one stream for each subscription.

In: subscriptions from the log broker; out: messages of lines. A subscription that fails does not disturb the others.
`logs` decides which tasks and lines a subscription asks for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from shoal.agent.logs import BATCH_BYTES, BATCH_LINES, Throttle, attributes, context, log_options, message, selects
from shoal.agent.runtime import closing
from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogBrokerStub
from shoal.errors import NotFound, ShoalError
from shoal.runtime.types import ContainerConfig, LogLine, LogOptions

if TYPE_CHECKING:
    from grpclib.client import Stream

log = logging.getLogger(__name__)

SUBSCRIPTIONS = 256  # concurrent ones; a further one gets an empty stream
QUEUED_LINES = 1000  # lines read but not yet sent; when there are more, the readers wait
STOP_TIMEOUT = 1.0


class LoggedTask(Protocol):
    """A task as a log publisher needs it."""

    task: api.Task

    @property
    def config(self) -> ContainerConfig | None:
        """The configuration of the container, or None for a task that cannot run here."""

    async def wait_container(self) -> None:
        """Return once the container runs or has run. Waits for ever if there never is one."""


class LogSource(Protocol):
    """The tasks and their logs."""

    def logged_tasks(self) -> Iterable[LoggedTask]:
        """Return the present tasks of this node."""

    def hear_new_tasks(self, hear: Callable[[LoggedTask], None]) -> AbstractContextManager[None]:
        """Call `hear` with each task that is assigned here while the context is open."""

    def read_logs(self, task: api.Task, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of a task's container. Raises NotFound when there is none."""


class LogPublisher:
    """Serves the subscriptions of one session."""

    def __init__(self, broker: LogBrokerStub, source: LogSource) -> None:
        self._broker = broker
        self._source = source
        self._serving: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Serve until the session breaks. Raises the error that broke it, in an ExceptionGroup."""
        async with self._broker.ListenSubscriptions.open() as stream:
            await stream.send_message(api.ListenSubscriptionsRequest(), end=True)
            async with asyncio.TaskGroup() as group:
                async for subscription in stream:
                    self._handle(subscription, group)
                raise StreamTerminatedError("the manager closed the subscriptions")

    def _handle(self, subscription: api.SubscriptionMessage, group: asyncio.TaskGroup) -> None:
        running = self._serving.get(subscription.id)
        if subscription.close:
            if running is not None:
                running.cancel()
            return
        if running is not None:
            return
        child = group.create_task(self._publish(subscription), name=f"logs {subscription.id}")
        self._serving[subscription.id] = child

    async def _publish(self, subscription: api.SubscriptionMessage) -> None:
        try:
            async with self._broker.PublishLogs.open() as stream:
                if len(self._serving) <= SUBSCRIPTIONS:
                    await self._pump(subscription, stream)
                else:
                    log.warning("more than %s subscriptions to logs: one is not served", SUBSCRIPTIONS)
                done = api.PublishLogsMessage(subscription_id=subscription.id, close=True)
                await stream.send_message(done, end=True)
                await stream.recv_message()
        except* (GRPCError, StreamTerminatedError, ProtocolError, H2Error, OSError) as group:
            # The subscriber is gone, or the session broke. Other parts of the session report a broken one.
            log.debug("logs for subscription %s ended: %s", subscription.id, group.exceptions)
        finally:
            del self._serving[subscription.id]

    async def _pump(
        self, subscription: api.SubscriptionMessage, stream: "Stream[api.PublishLogsMessage, api.PublishLogsResponse]"
    ) -> None:
        queue: asyncio.Queue[api.LogMessage | None] = asyncio.Queue(QUEUED_LINES)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(subscription, queue), name=f"logs-read {subscription.id}")
            throttle = Throttle(_now())
            more = True
            while more:
                batch, size = [await queue.get()], 0
                while len(batch) < BATCH_LINES and size < BATCH_BYTES and not queue.empty():
                    batch.append(queue.get_nowait())
                    size += len(batch[-1].data) if batch[-1] is not None else 0
                lines = [line for line in batch if line is not None]
                more = len(lines) == len(batch)
                if lines:
                    await asyncio.sleep(throttle.delay(sum(len(line.data) for line in lines), _now()))
                    await stream.send_message(api.PublishLogsMessage(subscription_id=subscription.id, messages=lines))

    async def _read(self, subscription: api.SubscriptionMessage, queue: "asyncio.Queue[api.LogMessage | None]") -> None:
        async with asyncio.TaskGroup() as group:

            def read(logged: LoggedTask) -> None:
                if selects(subscription.selector, logged.task):
                    group.create_task(self._read_task(logged, subscription, queue), name=f"logs {logged.task.id}")

            if subscription.options.follow:
                with self._source.hear_new_tasks(read):
                    for logged in self._source.logged_tasks():
                        read(logged)
                    await asyncio.Event().wait()  # a subscription that follows ends when it is closed
            for logged in self._source.logged_tasks():
                read(logged)
        await queue.put(None)

    async def _read_task(
        self,
        logged: LoggedTask,
        subscription: api.SubscriptionMessage,
        queue: "asyncio.Queue[api.LogMessage | None]",
    ) -> None:
        try:
            options = log_options(subscription.options)
            if options.follow:
                await logged.wait_container()
            if logged.config is None:
                return
            whose, attrs = context(logged.task), attributes(logged.task, logged.config)
            async with closing(self._source.read_logs(logged.task, options)) as lines:
                async for line in lines:
                    await queue.put(message(line, whose, attrs))
        except NotFound:
            return  # without a container there are no lines
        except (ShoalError, OSError) as error:
            log.warning("logs of task %s cannot be read: %s", logged.task.id, error)
        except Exception:  # the logs of other tasks go on
            log.exception("logs of task %s cannot be read", logged.task.id)


def _now() -> float:
    return asyncio.get_running_loop().time()
